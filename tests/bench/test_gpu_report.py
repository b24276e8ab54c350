"""The table and the verdict, from made-up measurements."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from gpu.ceilings import ceiling_of
from gpu.report import gemm_share, problems_of, report

GOAL = {"goal": "5x eager", "wanted": 5.0, "own": "gpu_mlp run_steps", "other": "torch eager"}
DOCUMENT: dict[str, Any] = {
    "gpu": "Imaginary GPU",
    "commit": "abc",
    "stages": {
        "device": {"status": "done", "seconds": 3.0, "results": {"name": "Imaginary GPU"}},
        "tests": {
            "status": "done",
            "seconds": 99.0,
            "results": {"counts": {"passed": 900}, "counts_on_the_device": {"passed": 80}, "failures": []},
        },
        "ceilings": {
            "status": "done",
            "results": {
                "copy": {"bytes_per_s": 2e12, "timed": "graph"},
                "product float32": {"flop_per_s": 5e13, "size": 8192, "by": "LtProducts", "timed": "graph"},
                "product bf16": {"flop_per_s": 8e14, "size": 8192, "by": "LtProducts", "timed": "graph"},
                "product bf16, float32 result": {
                    "flop_per_s": 7e14,
                    "size": 8192,
                    "by": "LtProducts",
                    "timed": "graph",
                },
                "graph of 10 nodes": 1e-5,
            },
        },
        "kernels": {
            "status": "done",
            "results": {
                "kernels": [
                    {
                        "name": "adam",
                        "size": [16, 4],
                        "precision": "float32",
                        "seconds": 1e-6,
                        "timed": "graph",
                        "bytes": 1,
                        "bytes_per_s": 1.5e12,
                        "in_cache": True,
                    }
                ],
                "products": [
                    {
                        "name": "product below",
                        "size": [1, 2, 3],
                        "precision": "float32",
                        "seconds": 1e-6,
                        "timed": "launches",
                        "flop_per_s": 4e13,
                        "bytes_per_s": 1.0,
                        "in_cache": False,
                    },
                    {
                        "name": "product weights BGRADB",
                        "size": [1, 2, 3],
                        "precision": "bf16",
                        "seconds": 1e-6,
                        "timed": "graph",
                        "flop_per_s": 6e14,
                        "bytes_per_s": 1.0,
                        "in_cache": False,
                    },
                ],
            },
        },
        "profile": {
            "status": "done",
            "results": {
                "step bf16": {"problem": "p", "memory": {"asked_of_the_pool": 0}},
                "skipped": ["run_steps fp16: no time left"],
                "bits": [{"precision": "fp16", "dropout": 0.0, "same": True}],
            },
        },
        "sanitizer": {
            "status": "done",
            "results": {
                "installed": True,
                "planted memcheck": {"found": True, "exit_code": 77},
                "kernels memcheck": {"clean": True, "errors": 0, "tests": {"passed": 20}},
            },
        },
        "steps": {
            "status": "done",
            "results": {
                "problems": [
                    {
                        "problem": "2-4-2 @ 64",
                        "precision": "float32",
                        "flops": 10**9,
                        "gemm_share_wanted": 0.85,
                        "seconds": {
                            "gpu_mlp run_steps": 2.5e-5,
                            "gpu_mlp plain": 1e-6,
                            "torch eager": 1.5e-4,
                        },
                        "not_timed": {"jax jit": "its loss differs"},
                        "prepared": {"gpu_mlp step": {"warnings": ["a step could not be captured"]}},
                        "goals": [
                            GOAL | {"ratio": 6.0, "low": 5.9, "high": 6.1, "met": True},
                            {"goal": "2x best", "met": None, "why": "there is nobody to compare"},
                        ],
                    },
                    {
                        "problem": "784-512-10 @ 64 bf16",
                        "precision": "bf16",
                        "flops": 10**12,
                        "gemm_share_wanted": None,
                        "seconds": {"gpu_mlp step": 2.5e-3},
                        "goals": [],
                    },
                ],
                "skipped": ["the last: no time left"],
            },
        },
    },
}


def test_the_table_has_every_part() -> None:
    text = report(json.loads(json.dumps(DOCUMENT)))
    for line in (
        "Imaginary GPU, commit abc",
        "copy 2.000 TB/s, read and written (graph)",
        "product float32 50.00 TFLOP/s at 8192 (LtProducts, graph)",
        "product bf16, float32 result 700.00 TFLOP/s at 8192 (LtProducts, graph)",
        "1500.0 GB/s    75 % in cache",
        "1x2x3           float32       1.00 us    40.00 TFLOP/s    80 % launches",
        "1x2x3           bf16          1.00 us   600.00 TFLOP/s    75 %",
        "          25.0            1.0          150.0              -  80.0 %",
        "             -              -              -         2500.0  50.0 %",
        "planted memcheck: found",
        "kernels memcheck: clean, errors 0",
        "step bf16: memory: {'asked_of_the_pool': 0}",
        "skipped: run_steps fp16: no time left",
        "two trainings in fp16, dropout 0.0: the same bits",
        "{'passed': 900}",
        "5x eager   yes    6.00 (5.90 to 6.10)  gpu_mlp run_steps against torch eager",
        "2x best    -    there is nobody to compare",
        "85 % GEMM  NO    80.0 %  gpu_mlp run_steps",
        "not timed: jax jit: its loss differs (2-4-2 @ 64)",
        "warning: gpu_mlp step: a step could not be captured (2-4-2 @ 64)",
        "skipped: the last: no time left",
    ):
        assert line in text, (line, text)
    assert problems_of(DOCUMENT) == []


def test_nothing_measured_is_still_a_table() -> None:
    assert "unknown GPU" in report({})
    assert "steps      skipped" in report({"stages": {"steps": {"status": "skipped", "why": "no time left"}}})
    assert problems_of({}) == []


def test_the_share_of_products_is_of_the_fastest_captured_form_and_product_of_its_precision() -> None:
    row, in_bf16 = DOCUMENT["stages"]["steps"]["results"]["problems"]
    ceilings = copy.deepcopy(DOCUMENT["stages"]["ceilings"]["results"])
    share = gemm_share(row, ceilings)
    assert share is not None
    assert share["share"] == pytest.approx(0.8)
    assert gemm_share(row, {}) is None
    assert gemm_share(in_bf16, ceilings) == {"own": "gpu_mlp step", "share": pytest.approx(0.5)}
    assert ceiling_of(ceilings, "bf16") == 8e14
    del ceilings["product bf16"]
    assert ceiling_of(ceilings, "bf16") == 7e14
    assert gemm_share(row | {"precision": "float64"}, ceilings) is None


BROKEN = (
    ("device", lambda stage: stage.update(status="timed out"), "device: timed out"),
    (
        "tests",
        lambda stage: stage["results"]["failures"].append({"test": "a", "outcome": "failed"}),
        "1 failed",
    ),
    ("kernels", lambda stage: stage["results"].update(failures=[{"what": "adam"}]), "1 failures inside"),
    (
        "sanitizer",
        lambda stage: stage["results"]["planted memcheck"].update(found=False),
        "planted memcheck was not found",
    ),
    (
        "sanitizer",
        lambda stage: stage["results"]["kernels memcheck"].update(clean=False),
        "kernels memcheck is not clean",
    ),
    (
        "profile",
        lambda stage: stage["results"]["bits"][0].update(same=False),
        "two trainings in fp16 with dropout 0.0 differ",
    ),
)


@pytest.mark.parametrize(("stage", "damage", "expected"), BROKEN, ids=[each[2] for each in BROKEN])
def test_what_is_broken_is_told(stage: str, damage: Any, expected: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    damage(document["stages"][stage])
    (problem,) = problems_of(document)
    assert expected in problem
    report(document)


def test_a_goal_that_is_not_met_breaks_nothing() -> None:
    document = copy.deepcopy(DOCUMENT)
    row, _ = document["stages"]["steps"]["results"]["problems"]
    row["goals"][0]["met"] = False
    assert problems_of(document) == []
    assert "5x eager   NO" in report(document)
    assert "784-512-10 @ 64 bf16" not in report(document).partition("== goals")[2]
