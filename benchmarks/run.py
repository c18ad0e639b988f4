"""``make bench``: every benchmark, one after the other.

    python benchmarks/run.py [--quick] [--save figures.json]

CPU time per unit, medians of several runs, each beside a floor or a peer of the same run; latency
comes last, in wall time. Exits 1 if a limit was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES: dict[str, tuple[list[str], list[str]]] = {
    "bench_core.py": ([], ["--quick"]),
    "bench_store.py": ([], ["--quick"]),
    "bench_media.py": ([], ["--runs", "3"]),
    "bench_vad.py": ([], ["--runs", "3"]),
    "bench_pipeline.py": ([], ["--runs", "2"]),
    "bench_voice.py": ([], ["--quick"]),
    "bench_voice_turns.py": ([], ["--quick"]),
    "bench_call.py": ([], ["--runs", "1", "--seconds", "5"]),
    "bench_webrtc.py": ([], ["--quick"]),
    "bench_interactive_video.py": ([], ["--quick"]),
    "bench_avatar_sessions.py": ([], ["--quick"]),
    "latency.py": ([], ["--turns", "20", "--barge-ins", "5"]),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="all benchmarks")
    parser.add_argument("--quick", action="store_true", help="fewer runs, rougher figures")
    parser.add_argument("--save", type=Path, help="also write the figures as JSON lines")
    parser.add_argument("--only", nargs="*", help="names of benchmarks, e.g. bench_vad.py")
    options = parser.parse_args()
    environment = dict(os.environ) | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    missed, saved = [], []
    for name, (full, quick) in BENCHES.items():
        if options.only and name not in options.only:
            continue
        print(f"== {name}", flush=True)
        command = [sys.executable, str(HERE / name), *(quick if options.quick else full)]
        if options.save:
            done = subprocess.run(
                [*command, "--json"], env=environment, capture_output=True, text=True
            )
            print(done.stdout, done.stderr, flush=True)
            saved += [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]
            code = done.returncode
        else:
            code = subprocess.run(command, env=environment).returncode
        if code:
            missed.append(name)
    if options.save:
        options.save.write_text("\n".join(json.dumps(item) for item in saved) + "\n")
    print("limits missed in: " + ", ".join(missed) if missed else "all limits held")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
