"""One still's bytes in, its 8-bit pixels out, with what is known of their colours and their orientation."""
