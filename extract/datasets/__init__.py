"""One adapter a data set: a folder on disk in, a manifest out."""
