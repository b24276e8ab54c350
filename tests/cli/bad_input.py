"""The bad input of issue and habit: what is given, what must be said, and how it ends; a line or two each.

Every input is a good one (`PEOPLE`, `HOUSES`, a trained model) with one thing spoiled.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

import gpu_mlp
from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import (
    ConfigError,
    DataError,
    DeviceError,
    DivergenceError,
    GpuMlpError,
    ModelFileError,
    RunFolderError,
)
from gpu_mlp.files.run_places import check_destination

__all__ = ["CASES", "GOOD", "HOUSES", "MODEL", "PEOPLE", "Case"]

# A classification (line 2 is the first row) and a regression, 40 rows each.
PEOPLE = "age,colour,y\n" + "".join(
    f"{20 + n},{('red', 'blue')[n % 2]},{('a', 'b')[n % 2]}\n" for n in range(40)
)
HOUSES = "rooms,area,y\n" + "".join(f"{1 + n % 5},{40.5 + n},{2.5 * n + 0.25}\n" for n in range(40))
MODEL = "model.safetensors"  # trained on PEOPLE, in the folder of every case

# What a file of a case holds: text, bytes, bytes made from the good model's, or None for a folder.
Content = str | bytes | Callable[[bytes], bytes] | None


@dataclass(frozen=True)
class Case:
    """`gpu-mlp ARGUMENTS` in a folder with the files; `python` is the same from Python, where it can be asked.

    says: parts of the one sentence; code: of exit; error: what Python raises.
    """

    arguments: tuple[str, ...]
    says: tuple[str, ...]
    files: Mapping[str, Content] = field(default_factory=dict)
    code: int = 2
    error: type[GpuMlpError] = DataError
    python: Callable[[], object] | None = None


def training(content: Content, *says: str, flags: str = "", name: str = "t.csv", **keywords: Any) -> Case:
    """A table with a target y; `keywords` are the flags as `fit_table` takes them, and what a Case has."""
    target, code, error = (
        keywords.pop("target", "y"),
        keywords.pop("code", 2),
        keywords.pop("error", DataError),
    )
    settings = keywords.pop("config", {})
    return Case(
        ("train", name, "--target", target, *flags.split()),
        says,
        {name: content},
        code,
        error,
        lambda: gpu_mlp.fit_table(name, target, config=TrainingConfig(**settings), **keywords),
    )


def prediction(content: Content, *says: str, name: str = "new.csv") -> Case:
    """A table for the good model."""
    return Case(
        ("predict", MODEL, name), says, {name: content}, python=lambda: gpu_mlp.load(MODEL).predict(name)
    )


def model(content: Content, *says: str, name: str = "bad.safetensors") -> Case:
    """A model file for a good table."""
    files = {"t.csv": PEOPLE, name: content}
    return Case(("predict", name, "t.csv"), says, files, 2, ModelFileError, lambda: gpu_mlp.load(name))


def absent(case: Case) -> Case:
    """The same without the file that is refused."""
    files = {name: content for name, content in case.files.items() if content not in ("", b"")}
    return replace(case, files=files)


def usage(*arguments: str, says: tuple[str, ...]) -> Case:
    """A mistake that only a command line can hold, after a good table."""
    return Case(("train", "t.csv", "--target", "y", *arguments), says, {"t.csv": PEOPLE})


def setting(flags: str, *says: str, error: type[GpuMlpError] = ConfigError, **keywords: Any) -> Case:
    """A good table with a bad setting."""
    return training(PEOPLE, *says, flags=flags, error=error, **keywords)


def foreign(_: bytes) -> bytes:
    return safetensors.numpy.save({"0.weight": np.ones((2, 2), np.float32)})


def flipped(good: bytes) -> bytes:
    return good[:-3] + bytes([good[-3] ^ 1]) + good[-2:]


def newer(good: bytes) -> bytes:
    return good.replace(b'"format_version":"1"', b'"format_version":"9"')


ONE_CLASS = PEOPLE.replace(",b\n", ",a\n")
NOT_ONE = "age,colour,y\n" + "20,,a\n21,,b\n" * 20
NAMES = "age,y\n" + "".join(f"{n},name{n}\n" for n in range(40))
UTF8 = ("is not UTF-8 text", "save the file as UTF-8")
NOT_A_MODEL = ("bad.safetensors is not a model file", "give the model.safetensors of a run folder")
CUDA = ("a CUDA device was asked for", "CuPy cannot be imported", "pip install 'gpu_mlp[cuda13]'")
INF = float("inf")
WILD = {"learning_rate": 1e30, "optimizer": "sgd"}

CASES: dict[str, Case] = {
    # Files that are not there or not tables.
    "missing file": absent(training("", "p.csv does not exist", "check the path", name="p.csv")),
    "misspelt file": Case(
        ("train", "trian.csv", "--target", "y"), ("trian.csv does not exist", "did you mean 'train.csv'?"),
        {"train.csv": PEOPLE}, python=lambda: gpu_mlp.fit_table("trian.csv", "y"),
    ),
    "missing folder": absent(training("", "no/t.csv does not exist, nor does its folder", name="no/t.csv")),
    "empty file": training("", "t.csv is empty (0 bytes)", "give a file with a header and rows"),
    "blank lines": training("\n\n", "t.csv is empty but for blank lines", "give a file with a header"),
    "no rows": training("age,colour,y\n", "t.csv has columns ('age', 'colour', 'y') but no rows", "add at least one"),
    "no header": training("5.1,3.5\n4.9,3.0\n", "t.csv, line 1,", "'5.1', '3.5'", "add a header"),
    "ragged row": training(PEOPLE + "60,red\n", "t.csv, line 42,", "has 2 fields", "header has 3", "correct the row"),
    "open quote": training(PEOPLE + '60,"red,a\n', "t.csv, line 42,", "quote that is never closed", "close it"),
    "folder": training(None, "t.csv is a folder without tables", "give one with .csv, .parquet or .feather files"),
    "UTF-16": training(PEOPLE.encode("utf-16") + b"\0", "t.csv, line 42,", "is not UTF-16 text", "save the file as"),
    "Latin-1": training(PEOPLE.encode() + b"60,caf\xe9,a\n", "t.csv, line 42,", *UTF8),
    "binary": training(bytes(range(1, 256)) * 20, "t.csv, line", *UTF8),
    "zeros": training(b"\0" * 100, "t.csv cannot be read as text", "write the file again"),
    "no Parquet": training(PEOPLE, "t.parquet cannot be read as Parquet", "write the file again", name="t.parquet"),
    "other suffix": training("x", "t.xlsx ends in '.xlsx'", "give a .csv", name="t.xlsx"),
    "a name twice": training("x,x,y\n1,2,3\n", "t.csv, line 1,", "columns 1 and 2 both 'x'", "rename one"),
    "no name": training(",x,y\n0,1,2\n", "t.csv, line 1,", "column without a name, number 1 of 3", "name it"),
    # Targets.
    "unknown target": training(PEOPLE, "t.csv has no column 'colur'", "did you mean 'colour'?", target="colur"),
    "target like no other": training(PEOPLE, "no column 'zz'", "choose one of 'age', 'colour', 'y'", target="zz"),
    "text for a regression": training(
        HOUSES + "3,99,dear\n", "t.csv, line 42, column 'y' holds 'dear'", "correct the value or remove the row",
        flags="--task regression", task="regression",
    ),
    "one class": training(ONE_CLASS, "t.csv, column 'y' holds the one class 'a'", "at least 2", "another target"),
    "text in a target of numbers": training(
        HOUSES + "3,99,abc\n", "t.csv, line 42, column 'y' holds 'abc'", "correct it", "--task classification",
    ),
    "as many labels as rows": training(
        NAMES, "t.csv, column 'y' holds 40 different texts in 40 rows", "another target, or say --task classification"
    ),
    "more classes than rows to train on": training(
        NAMES, "column 'y' has 40 classes, but 28 rows are left to train on", "more rows, or smaller --validation",
        flags="--task classification", task="classification",
    ),
    "missing target": training(
        PEOPLE + "60,red,\n60,red,\n", "t.csv, line 42, column 'y' has no value (1 more", "fill it in or remove"
    ),
    "NaN target": training(HOUSES + "3,99,NaN\n", "t.csv, line 42, column 'y' has no value", "remove the row"),
    "infinite target": training(HOUSES + "3,99,-inf\n", "t.csv, line 42, column 'y' holds -inf", "remove the row"),
    "target too large": training(HOUSES + "3,99,1e39\n", "line 42, column 'y' holds 1e+39", "3.403e+38", "rescale"),
    "negative count": training(
        HOUSES + "3,99,-7.5\n", "line 42, column 'y' holds -7.5", "a count is 0 or more", "choose another loss",
        flags="--loss poisson", config={"loss": "poisson"},
    ),
    # Features.
    "column of nothing": training(NOT_ONE, "column 'colour' has no values", "leave it out with --ignore 'colour'"),
    "feature too large": training(PEOPLE + "1e39,red,a\n", "line 42, column 'age' holds 1e+39", "float32", "rescale"),
    "infinite feature": training(PEOPLE + "inf,red,a\n", "t.csv, line 42, column 'age' holds inf", "finite number"),
    "text among numbers": training(
        PEOPLE + "n.a.,red,a\n", "t.csv, line 42, column 'age' holds 'n.a.'", "correct it", "with --ignore 'age'"
    ),
    "thousands separators": training(
        PEOPLE + '"1,000",red,a\n', "t.csv, line 42, column 'age' holds '1,000'", "without separators"
    ),
    "no features": training("y\n1\n2\n3\n", "t.csv has no feature columns left", "ignore fewer"),
    "too few rows": training("x,y\n1,a\n2,b\n", "2 rows", "at least 3", "--validation 0 and --test 0"),
    # Prediction.
    "missing column": prediction("colour\nred\n", "new.csv lacks the column 'age' that training had", "add it"),
    "renamed column": prediction("Age,colour\n20,red\n", "new.csv lacks the column 'age'", "rename 'Age'"),
    "extra column": prediction("age,size,colour\n20,3,red\n", "new.csv has the column 'size' that", "remove it"),
    "text for a number": prediction("age,colour\n20,red\nold,red\n", "line 3, column 'age' holds 'old'", "correct"),
    "value too large": prediction("age,colour\n1e39,red\n", "new.csv, line 2, column 'age' holds 1e+39", "rescale"),
    # Models.
    "missing model": absent(model(b"", "bad.safetensors does not exist", "check the path")),
    "empty model": model(b"", "bad.safetensors is too short for a model file (0 bytes)", "give a file"),
    "model cut in its header": model(lambda good: good[:99], "bad.safetensors is cut off", "has 99", "copy it again"),
    "model cut in its tensors": model(lambda good: good[:-9], "bad.safetensors is damaged", "copy it again"),
    "model with a changed bit": model(flipped, "bad.safetensors is damaged", "checksum", "copy it again"),
    "model of a newer version": model(newer, "bad.safetensors has format version 9", "reads up to 1", "upgrade"),
    "model of another program": model(foreign, "is a safetensors file that gpu_mlp did not write", "give"),
    "pickle for a model": model(pickle.dumps([0.0] * 99), *NOT_A_MODEL),
    "table for a model": model(PEOPLE, *NOT_A_MODEL),
    "folder for a model": model(None, "bad.safetensors is a folder", "give the path of the model.safetensors in it"),
    # Where the run goes.
    "output exists": Case(
        ("train", "t.csv", "--target", "y", "--out", "run"), ("run already exists", "choose another --out or remove"),
        {"t.csv": PEOPLE, "run": None}, 2, RunFolderError, lambda: check_destination(Path("run")),
    ),
    "output below a file": Case(
        ("train", "t.csv", "--target", "y", "--out", "t.csv/run"), ("t.csv/run cannot be made", "is not a folder"),
        {"t.csv": PEOPLE}, 2, RunFolderError, lambda: check_destination(Path("t.csv/run")),
    ),
    # Settings.
    "unknown flag": usage("--epoch", "3", says=("train has no flag --epoch", "did you mean '--epochs'?")),
    "unknown command": Case(("trian", "t.csv"), ("no command 'trian'", "did you mean 'train'?")),
    "no table": Case(("train",), ("neither a table nor --demo", "give either TABLE --target COLUMN")),
    "table and demo": usage("--demo", "iris", says=("both the table t.csv and --demo", "give either")),
    "no target": Case(("train", "t.csv"), ("t.csv needs --target with the name of the column",), {"t.csv": PEOPLE}),
    "no number": usage("--epochs", "many", says=("--epochs is 'many'", "a whole number")),
    "a fraction": usage("--epochs", "2.5", says=("--epochs is '2.5'", "a whole number")),
    "bad widths": usage("--hidden", "64,x", says=("--hidden is '64,x'", "such as 128,64, or 0")),
    "unknown demo": Case(("train", "--demo", "irs"), ("there is no demo 'irs'", "did you mean 'iris'?")),
    "unknown activation": setting(
        "--activation rleu", "activation 'rleu' is unknown", "did you mean 'relu'?", activation="rleu"
    ),
    "one activation too many": setting(
        "--activation relu,tanh,elu", "activation names 3 layers", "2 hidden", activation=("relu", "tanh", "elu")
    ),
    "unknown initializer": setting("--initializer he_nor", "'he_nor' is unknown", "he_normal", initializer="he_nor"),
    "unknown optimizer": setting("--optimizer adm", "optimizer 'adm'", "mean 'adam'?", config={"optimizer": "adm"}),
    "unknown loss": setting("--loss hubr", "loss 'hubr' is unknown", "did you mean 'huber'?", config={"loss": "hubr"}),
    "loss of another task": setting(
        "--loss huber --task classification", "the loss huber does not fit a classification", "choose",
        config={"loss": "huber"}, task="classification",
    ),
    "unknown task": setting("--task regresion", "the task 'regresion' is unknown", "'regression'?", task="regresion"),
    "unknown dtype": setting("--dtype float23", "dtype 'float23' is unknown", "float32, float64", dtype="float23"),
    "no epochs": setting("--epochs 0", "epochs is 0", "at least 1", config={"epochs": 0}),
    "negative rate": setting("--learning-rate -1", "rate is -1", "greater than", config={"learning_rate": -1.0}),
    "infinite rate": setting("--learning-rate inf", "learning_rate is inf", "finite", config={"learning_rate": INF}),
    "all dropped": setting("--dropout 1", "dropout is 1.0", "less than 1", config={"dropout": 1.0}),
    "negative seed": setting("--seed -1", "seed is -1", "at least 0", config={"seed": -1}),
    "nothing to train on": setting(
        "--validation 0.5 --test 0.5", "0.5 and --test 0.5 leave no rows", "below 1", validation=0.5, test=0.5
    ),
    "a share above one": setting("--test 1.5", "--test is 1.5", "below 1", test=1.5),
    "unknown column to ignore": setting(
        "--ignore agee", "no column 'agee' to ignore", "did you mean 'age'?", ignore=["agee"], error=DataError
    ),
    "target ignored": setting("--ignore y", "column 'y' is both the target and ignored", "ignore other", ignore=["y"]),
    # Devices and divergence.
    "no CUDA device": setting("--device cuda", *CUDA, device="cuda", code=3, error=DeviceError),
    "unknown device": setting("--device gpu", "'gpu' is unknown", '"cuda:N"', device="gpu"),
    "divergence": training(
        HOUSES, "the loss became ", " at step 2 (epoch 2), first in the pre-activations of layer ", "lower the",
        flags="--learning-rate 1e30 --optimizer sgd", config=WILD, code=4, error=DivergenceError,
    ),
}  # fmt: skip

# As classes, with 32 of 40 rows to train on.
AS_CLASSES: dict[str, Any] = {
    "flags": "--task classification --validation 0.1 --test 0.1",
    "task": "classification",
    "validation": 0.1,
    "test": 0.1,
}

# The negative control: what the cases spoil is taken as it is.
GOOD: dict[str, Case] = {
    "classification": training(PEOPLE),
    "names as labels": training(NAMES.replace("name3", "name1"), **AS_CLASSES),
    "regression": training(HOUSES),
    "prediction": prediction(PEOPLE),
    "model": model(lambda good: good),
}
