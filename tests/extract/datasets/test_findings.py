from extract.datasets.celebdf import read_celebdf
from extract.datasets.findings import findings
from extract.datasets.frames import read_frames
from extract.datasets.registry import read_dataset

LIST = "List_of_testing_videos.txt"


def test_what_is_printed(make_celebdf):
    names = [
        *(f"Celeb-real/id{n}_0000.mp4" for n in range(3)),
        *(f"Celeb-synthesis/id0_id{n}_{k:04d}.mp4" for n in range(40) for k in range(30)),
        "YouTube-real/00170.mp4",
        *(f"extra{n}.txt" for n in range(7)),
    ]
    lines = ["1 Celeb-real/id0_0000.mp4", "1 YouTube-real/00171.mp4"]
    root = make_celebdf(*names, lines=lines)
    assert (
        "\n".join(findings("celebdf", read_celebdf(root)))
        == f"""\
Celeb-DF: 1,204 clips

                    real    fake   total
clips                  4   1,200   1,204
by attack
  Celeb-synthesis      -   1,200   1,200
by split
  train                3   1,200   1,203
  test                 1       -       1

Identities: 41 (seen in one clip only: 1).
- 40 identities in Celeb-real and Celeb-synthesis; each of 1 YouTube-real clips counts as an identity of its own.
- Videos in {LIST} that are missing: 1, first YouTube-real/00171.mp4.
- The version is not known: {LIST} has 2 lines (v2: 518, v1: 100).

Left out, because no rule explains them or for the reason given (7):
  {root}/extra0.txt  no rule explains it
  {root}/extra1.txt  no rule explains it
  {root}/extra2.txt  no rule explains it
  {root}/extra3.txt  no rule explains it
  {root}/extra4.txt  no rule explains it
  and 2 more

Missing (1):
  {root}/YouTube-real/00171.mp4  in {LIST}"""
    )


def test_frames_are_counted_as_clips(make):
    root = make("real/a/1.png", "real/a/2.png", "fake/b/1.png")
    lines = findings("frames", read_frames(root))
    assert lines[0] == "Frame folders: 2 clips in 3 files"
    assert "clips      1      1       2" in lines
    assert "Clips that name no identity: 2." in lines
    assert lines[-1] == "No file was left out, and none is known to be missing."
    assert not any(line.startswith("by ") for line in lines), "no attack, no split, one data set"


def test_several_data_sets_are_counted_each(make):
    root = make("one/real/a.mp4", "one/fake/b.mp4", "two/real/a.mp4", "two/fake/b.mp4")
    lines = findings(*read_dataset([root]))
    assert lines[4:7] == [
        "by data set",
        "  one            1      1       2",
        "  two            1      1       2",
    ]
