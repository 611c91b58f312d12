"""What a full disk costs a sweep: nothing, once there is room."""

from __future__ import annotations

import subprocess
from pathlib import Path

from e2e.test_faults_outside import small_disk
from e2e.test_sweep import GRID, Sweeps


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, GRID.replace("method: grid", "method: grid\nrun_cap: 8"))
    runs = tmp_path / "runs"
    with small_disk(runs, "300k"):
        assert sweeps.run("s.yaml", "--workers", "1") == 1, sweeps.out
        assert "disk is full" in sweeps.err or "disk I/O error" in sweeps.err
        assert "run the sweep again" in sweeps.err.replace("\n", " ")
        subprocess.run(["mount", "-o", "remount,size=20m", str(runs)], check=True)
        assert sweeps.run("s.yaml", "--workers", "1") == 0, sweeps.err
        assert [row["status"] for row in sweeps.table("s")] == ["finished"] * 8
