"""The whole line on photographs: real weights must be worth something, and random ones must look random."""

import subprocess

import pandas as pd
import pytest

SUITE = """
name = "portraits"
protocol = "component"
nested = false
extractors = ["mobilenetv2", { name = "mobilenetv2", weights = "random" }]
[faces]
frames = 3
[classifiers.logistic_regression]
C = [0.001, 0.01, 0.1, 1.0]
[classifiers.svc]
C = [0.1, 1.0, 10.0]
"""


@pytest.mark.slow
def test_imagenet_weights_beat_random_ones_on_sixty_forged_portraits(tmp_path, command, request):
    portraits = request.config.rootpath.parent / "shared" / "data" / "portraits"
    if not portraits.is_dir():
        pytest.skip(f"no portraits at {portraits}")
    (tmp_path / "portraits.toml").write_text(SUITE)
    generate = [*command, "generate", "clips", "--portraits", str(portraits), "--identities", "60"]
    run = [*command, "run", "--suite", "portraits.toml", "--manifest", "clips/clips.csv", "--out", "out"]
    for words in (generate, run):
        subprocess.run(words, cwd=tmp_path, check=True)
    table = pd.read_csv(tmp_path / "out" / "tables" / "main.csv").query("metric == 'auc'")
    auc = table.pivot_table(index="classifier", columns="weights", values="mean")
    assert set(auc.index) == {"logistic_regression", "svc"}
    assert (auc["package"] > auc["random"] + 0.1).all()
    assert (auc["random"] - 0.5).abs().max() < 0.12
