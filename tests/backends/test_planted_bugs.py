"""Bugs planted in the kernels, one at a time: the checks of `kernel_checks` must see every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from gpu_mlp.backends.base import Ops
from gpu_mlp.errors import DeviceError
from tests.backends.emulated import emulated_ops
from tests.backends.kernel_checks import (
    OPTIMIZERS,
    check_layers,
    check_losses,
    check_norm,
    check_optimizers,
    check_penalty,
    check_rows,
)
from tests.backends.precision_checks import check_ends, check_growth, check_loss_scale, check_to_factors
from tests.backends.precision_checks import check_layers as check_rounded_layers
from tests.backends.precision_checks import check_rows as check_rounded_rows
from tests.emulator import EmulatorError


@dataclass(frozen=True)
class Bug:
    """What is replaced in the expanded source of a file, once or `times` times, and who must see it."""

    file: str
    right: str
    wrong: str
    times: int = 1
    seen_by: str = ""  # the file whose check sees it, if not its own


def seeing(file: str) -> Callable[[Ops, str], None]:
    """The check of a file, cut to what compiles fast."""
    if file == "loss.cu":
        few = (
            ("huber", {"delta": 0.7}),
            ("poisson", {}),
            ("softmax_cross_entropy", {"label_smoothing": 0.1}),
        )
        return partial(check_losses, losses=few)
    if file == "optimizer.cu":
        return partial(check_optimizers, optimizers=OPTIMIZERS, sizes=(31, 1009, 5120))
    return {"norm.cu": check_norm_and_scale, "rows.cu": check_rows, "factors.cu": check_halves}.get(
        file, check_layers
    )


def check_norm_and_scale(ops: Ops, dtype: str) -> None:
    """Clipping, and the scale of a loss in half precision."""
    check_norm(ops, dtype)
    check_penalty(ops, dtype)
    check_loss_scale(ops, dtype)
    check_growth(ops)
    check_ends(ops)


def check_halves(ops: Ops, dtype: str) -> None:
    """Layers, batches and factors in bfloat16."""
    check_rounded_layers(ops, "bf16", ["relu", "gelu"])
    check_rounded_rows(ops, "bf16")
    check_to_factors(ops, "bf16")


BUGS = {
    # activation.cu
    "the bias is forgotten": Bug("activation.cu", "f.at[i] = T(C(f.at[i]) + C(beta.at[i]));", ";"),
    "the bias of the wrong column": Bug(
        "activation.cu", "load<COUNT>(beta_o + o)", "load<COUNT>(beta_o + (o ? 0 : o))"
    ),
    "the wrong axis": Bug(
        "activation.cu", "const long long n = b * O + o;", "const long long n = o * B + b;"
    ),
    "h of f before the bias": Bug(
        "activation.cu",
        "f.at[i] = T(C(f.at[i]) + C(beta.at[i]));\n        h.at[i] = T(A::value(C(f.at[i])));",
        "h.at[i] = T(A::value(C(f.at[i])));\n        f.at[i] = T(C(f.at[i]) + C(beta.at[i]));",
    ),
    "f is not stored": Bug("activation.cu", "if (f_bo != h_bo) store(f_bo + n, f);", ""),
    "packs though rows are not aligned": Bug("activation.cu", "packed && O % PACKED<T> == 0", "packed"),
    "the tail of a pass is left out": Bug(
        "activation.cu", "n < N; n += threads", "n < packs * PACKED<T>; n += threads"
    ),
    "one pack too many": Bug("activation.cu", "pack < packs; pack", "pack <= packs; pack"),
    "only one stride of the grid": Bug(
        "activation.cu", "b < B; b += (long long)gridDim.y", "b < B; b += B + (long long)gridDim.y"
    ),
    "the last row is left out": Bug(
        "activation.cu", "for (long long b = thread; b < B;", "for (long long b = thread; b < B - 1;"
    ),
    "relu lets everything through": Bug("activation.cu", "return f <= T(0) ? T(0) : f;", "return f;"),
    "relu's gradient at 0": Bug(
        "activation.cu", "return h > T(0) ? T(1) : T(0);", "return h >= T(0) ? T(1) : T(0);"
    ),
    "gelu's gradient without its second term": Bug(
        "activation.cu", "return cdf(f) + f * (", "return cdf(f) + 0 * ("
    ),
    "kept units are not scaled": Bug(
        "activation.cu",
        "C(h.at[i]) * (is_kept[i] ? C(scale) : C(0))",
        "C(h.at[i]) * (is_kept[i] ? C(1) : C(0))",
    ),
    "dropout's other side": Bug(
        "activation.cu", "kept[i] = drawn >= stream.threshold;", "kept[i] = drawn < stream.threshold;"
    ),
    "nine rounds of Philox": Bug("activation.cu", "round < 10; ++round", "round < 9; ++round"),
    "Philox's key stands still": Bug("activation.cu", "k0 += 0x9E3779B9u;", ""),
    "a mask of another place": Bug("activation.cu", "stream.first + n;", "stream.first + n + 1;"),
    "a mask of another step": Bug("activation.cu", "(unsigned)(long long)clock_c[0], layer", "0u, layer", 2),
    "the gradient ignores dropout": Bug(
        "activation.cu", "dl_dh.at[i]) * (is_kept[i] ? C(scale) : C(0))", "dl_dh.at[i])"
    ),
    "half a pack of two bytes has the other half's mask": Bug(
        "activation.cu",
        "philox(stream, (number + block) / 4)",
        "philox(stream, number / 4)",
        seen_by="factors.cu",
    ),
    # bias_gradient.cu
    "a dropped barrier before the sums": Bug(
        "bias_gradient.cu", "of_thread[thread] = sum;\n  __syncthreads();", "of_thread[thread] = sum;"
    ),
    "a dropped barrier between the sums": Bug(
        "bias_gradient.cu", "rows * blockDim.x];\n    __syncthreads();", "rows * blockDim.x];"
    ),
    "a row of threads is not summed": Bug(
        "bias_gradient.cu", "int rows = blockDim.y / 2", "int rows = blockDim.y / 4"
    ),
    "every part in the same row": Bug(
        "bias_gradient.cu", "sums_po[(long long)blockIdx.y * O + o]", "sums_po[o]"
    ),
    "off-by-one grid": Bug(
        "bias_gradient.cu",
        "blockIdx.y * blockDim.y + threadIdx.y; b < B",
        "blockIdx.y * blockDim.y + threadIdx.y + 1; b < B",
    ),
    "columns past the edge": Bug(
        "bias_gradient.cu", "if (threadIdx.y == 0 && o < O)", "if (threadIdx.y == 0)"
    ),
    # loss.cu
    "the mean ignores the weights": Bug("loss.cu", "row_loss_b[b] * share_b[b]", "row_loss_b[b] / B"),
    "the gradient ignores the weights": Bug(
        "loss.cu", "L::gradient(f, y, constant) * share", "L::gradient(f, y, constant)"
    ),
    "softmax without its maximum": Bug("loss.cu", "largest = row.max(largest);", ""),
    "softmax's sum of one lane": Bug(
        "loss.cu", "sum = row.sum(sum);\n    const T log_sum", "const T log_sum"
    ),
    "no smoothing": Bug("loss.cu", "if (smoothing > T(0))", "if (false)"),
    "the row's loss of lane 0 alone": Bug("loss.cu", "row_loss = row.sum(row_loss);", "", 2),
    "a group of half its lanes": Bug(
        "loss.cu", "int distance = lanes / 2; distance > 0", "int distance = lanes / 4; distance > 0", 2
    ),
    "lanes without a row leave early": Bug(
        "loss.cu",
        "const bool has_row = row.b < B;",
        "const bool has_row = row.b < B; if (!has_row) return;",
        2,
    ),
    "a barrier too few in a block's sum": Bug(
        "loss.cu", "of_warp[thread / 32] = value;\n  __syncthreads();", "of_warp[thread / 32] = value;"
    ),
    "a block's sum overtakes the next": Bug(
        "loss.cu", "  __syncthreads();  // before the next call writes of_warp\n", ""
    ),
    "huber's other branch": Bug("loss.cu", "clipped * error - T(0.5)", "clipped * error - T(0.25)"),
    "poisson without its target": Bug("loss.cu", "return rate(f) - y;", "return rate(f);"),
    # optimizer.cu
    "swapped moments": Bug("optimizer.cu", "(m / (maths::sqrt(v)", "(v / (maths::sqrt(m * m)"),
    "moments taken the wrong way round": Bug("optimizer.cu", "update, m_n, v_n);", "update, v_n, m_n);"),
    "the state is not kept": Bug("optimizer.cu", "(store(state.from, state.pack), ...);", ""),
    "parameters are not kept": Bug("optimizer.cu", "store(p_n + n, p);", ""),
    "no L2 penalty": Bug("optimizer.cu", "g += penalty * p;", ""),
    "decoupled decay the wrong way": Bug(
        "optimizer.cu", "g += penalty * p;\n    p *= shrink;", "g += penalty * p;\n    p /= shrink;"
    ),
    "no decoupled decay": Bug("optimizer.cu", "p *= shrink;", ""),
    "the velocity is not decayed": Bug("optimizer.cu", "b = momentum * b +", "b = b +"),
    "nesterov's step from the old velocity": Bug("optimizer.cu", "g + momentum * b : b", "b : b"),
    "epsilon under the root": Bug(
        "optimizer.cu", "maths::sqrt(v) + clock.own[0]", "maths::sqrt(v + clock.own[0])"
    ),
    "lion's sign of the gradient": Bug(
        "optimizer.cu", "maths::sign(m + clock.own[0] * difference)", "maths::sign(g)"
    ),
    # norm.cu
    "a partial sum that nobody adds": Bug("norm.cu", "p < P; p += blockDim.x", "p < P - 1; p += blockDim.x"),
    "the norm without its root": Bug("norm.cu", "*norm = maths::sqrt(sum);", "*norm = sum;"),
    "gradients grow where they are small": Bug("norm.cu", "shrink < T(1) ? shrink : T(1)", "shrink"),
    "a penalty without its half": Bug("norm.cu", "T(0.5) * (alpha", "(alpha"),
    "a penalty of the gradient": Bug("norm.cu", "coefficient * w.at[i];", "coefficient * g.at[i];"),
    "the scale of the loss stays in the gradients": Bug("norm.cu", "g.at[i] /= divisor;", ";"),
    "a gradient that is not finite is not seen": Bug("norm.cu", "sum - sum == T(0)", "sum == sum"),
    "skipped where all is well": Bug("norm.cu", "finite ? 0 : 1", "finite ? 1 : 0"),
    "the scale does not fall": Bug("norm.cu", "!finite ? T(0.5)", "!finite ? T(1)"),
    "the scale never grows": Bug("norm.cu", "good >= growth ? T(2)", "good > growth ? T(2)"),
    "the scale falls to 0": Bug("norm.cu", "maths::maximum(next, smallest)", "next"),
    "the scale grows to infinity": Bug(
        "norm.cu", "maths::minimum(maths::maximum(next, smallest), largest)", "maths::maximum(next, smallest)"
    ),
    "skipped steps are not counted": Bug("norm.cu", "*skipped += 1", "*skipped += 0"),
    "good steps are counted on": Bug("norm.cu", "*steps = good >= growth ? 0 : good", "*steps = good"),
    # factors.cu and halves.cuh
    "factors are not scaled": Bug("factors.cu", "T(by * values.at[i])", "T(values.at[i])"),
    "factors are cut off": Bug("factors.cu", "whole + 0x7fff + (whole >> 16 & 1)", "whole"),
    "ties go up": Bug("factors.cu", "0x7fff + (whole >> 16 & 1)", "0x8000"),
    "of NaN becomes a number": Bug("factors.cu", "x != x ? 0x7fff : ", ""),
    "of NaN in a batch becomes a number": Bug("rows.cu", "x != x ? 0x7fff : ", "", seen_by="factors.cu"),
    "sums of a half type in the half type": Bug(
        "bias_gradient.cu",
        "sum += C(values_bo[b * O + o]);",
        "sum = C(T(sum + C(values_bo[b * O + o])));",
        seen_by="factors.cu",
    ),
    # rows.cu
    "the index is taken for the row": Bug("rows.cu", "rows_nd + index_b[b] * D + d", "rows_nd + b * D + d"),
    "shares of a weight of 0": Bug("rows.cu", "if (sum < smallest) sum = infinity;", ""),
    "the clock runs late": Bug(
        "rows.cu", "{step, rate, shrink", "{step - 1, rate, shrink", seen_by="activation.cu"
    ),
}


def planted(bug: Bug) -> Callable[[str, str], str]:
    """What the emulated compiler does with a source before it compiles it."""

    def plant(file: str, source: str) -> str:
        if file != bug.file:
            return source
        if source.count(bug.right) < bug.times:  # no AssertionError, which would count as seen
            raise LookupError(f"{bug.right!r} is not {bug.times} times in {file}")
        return source.replace(bug.right, bug.wrong, bug.times)

    return plant


def outcome(check: Callable[[Ops, str], None], ops: Ops) -> Exception | None:
    """What the check raised."""
    try:
        check(ops, "float32")
    except (AssertionError, EmulatorError) as error:
        if "g++ refuses" in str(error):
            raise  # a bug that does not compile shows nothing
        return error
    return None


@pytest.fixture(autouse=True)
def _emulator() -> None:
    try:
        emulated_ops("fast")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_seen(name: str) -> None:
    """As a wrong result, or by the emulator in the mode that looks at every access."""
    bug = BUGS[name]
    plant, check = planted(bug), seeing(bug.seen_by or bug.file)
    seen = outcome(check, emulated_ops("fast", plant)) or outcome(check, emulated_ops("check", plant))
    assert seen is not None, f"{name}: nobody saw it"


@pytest.mark.parametrize("file", sorted({bug.file for bug in BUGS.values()}))
@pytest.mark.parametrize("mode", ["fast", "check"])
def test_without_a_bug_the_same_checks_pass(file: str, mode: str) -> None:
    seeing(file)(emulated_ops(mode), "float32")
