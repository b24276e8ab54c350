"""One expression in three writings."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from gpu_mlp.backends.base import ACTIVATION_NAMES, LOSS_NAMES
from gpu_mlp.config import Loss
from gpu_mlp.explanation.expressions import (
    Absolute,
    Applied,
    Bracket,
    Cases,
    Derivative,
    Equation,
    Expression,
    Fraction,
    Grouped,
    Hadamard,
    Number,
    Power,
    Product,
    Relation,
    Sum,
    SumOver,
    Symbol,
    Transposed,
    Words,
    minus,
)
from gpu_mlp.explanation.formulas import activation_formula, loss_formula
from gpu_mlp.explanation.numbers import number
from gpu_mlp.explanation.written_as_text import as_text
from gpu_mlp.explanation.written_in_latex import as_latex, escaped
from gpu_mlp.explanation.written_in_mathml import as_mathml

F, OMEGA = Symbol("f", "12", "f_12"), Symbol("omega", "3", "omega_3")
DL_DF = Derivative(Symbol("L"), F, "dl_df_12")

CASES: list[tuple[Expression, str, str]] = [
    (F, "f₁₂", "f_{12}"),
    (Symbol("a", prime=True), "a'", "a'"),
    (Symbol("y", "o"), "y_o", "y_{o}"),
    (Number("-2"), "\N{MINUS SIGN}2", "-2"),
    (Words("max(f, 0)_"), "max(f, 0)_", r"\text{max(f, 0)\_}"),
    (DL_DF, "dL/df₁₂", r"\frac{\partial L}{\partial f_{12}}"),
    (Transposed(OMEGA), "Ω₃ᵀ", r"{\Omega_{3}}^{T}"),
    (Transposed(DL_DF), "(dL/df₁₂)ᵀ", r"{\left(\frac{\partial L}{\partial f_{12}}\right)}^{T}"),
    (Product(OMEGA, F), "Ω₃ f₁₂", r"\Omega_{3}\,f_{12}"),
    (Product(Number("2"), minus(F, OMEGA)), "2 (f₁₂ − Ω₃)", r"2\,\left(f_{12} - \Omega_{3}\right)"),
    (Hadamard(OMEGA, F), "Ω₃ ⊙ f₁₂", r"\Omega_{3} \odot f_{12}"),
    (Sum(("-", F), OMEGA), "−f₁₂ + Ω₃", r"- f_{12} + \Omega_{3}"),
    (SumOver("b", F), "Σ_b f₁₂", r"\sum_{b} f_{12}"),
    (Applied(Symbol("a"), F, elementwise=True), "a[f₁₂]", r"a\left[f_{12}\right]"),
    (Applied(Words("exp"), F), "exp(f₁₂)", r"\text{exp}\left(f_{12}\right)"),
    (Fraction(Number("1"), Sum(F, OMEGA)), "1/(f₁₂ + Ω₃)", r"\frac{1}{f_{12} + \Omega_{3}}"),
    (Power(minus(F, OMEGA), "2"), "(f₁₂ − Ω₃)²", r"{\left(f_{12} - \Omega_{3}\right)}^{2}"),
    (Absolute(F), "|f₁₂|", r"\left|f_{12}\right|"),
    (Grouped(F), "(f₁₂)", r"\left(f_{12}\right)"),
    (Relation(F, "<=", Number("1")), "f₁₂ ≤ 1", r"f_{12} \le 1"),
    (
        Product(Number("2"), Cases(F, Relation(F, ">", Number("0")), Number("0"))),
        "2 (f₁₂ where f₁₂ > 0, else 0)",
        r"2\,\left(\begin{cases} f_{12} & f_{12} > 0 \\ 0 & \text{else} \end{cases}\right)",
    ),
    (
        Bracket(DL_DF, 7),
        "[dL/df₁₂]",
        r"\underbrace{\bigl[\frac{\partial L}{\partial f_{12}}\bigr]}_{\text{step 7}}",
    ),
    (Equation(F, OMEGA), "f₁₂ = Ω₃", r"f_{12} = \Omega_{3}"),
]


@pytest.mark.parametrize(("expression", "text", "latex"), CASES)
def test_it_is_written(expression: Expression, text: str, latex: str) -> None:
    assert as_text(expression) == text
    assert as_latex(expression) == latex


@pytest.mark.parametrize("expression", [case[0] for case in CASES])
def test_mathml_is_well_formed_and_has_all_signs(expression: Expression) -> None:
    tree = ElementTree.fromstring(as_mathml(expression, block=True))
    assert tree.tag == "math"
    assert tree.attrib == {"display": "block"}
    written = "".join(tree.itertext())
    for sign in "fΩy2⊙Σ":
        if sign in as_text(expression):
            assert sign.replace("Σ", "∑") in written or sign == "Σ"


def test_what_stands_for_a_quantity_has_its_key() -> None:
    tree = ElementTree.fromstring(as_mathml(Equation(DL_DF, Bracket(Transposed(OMEGA), 4))))
    keys = [element.attrib["data-key"] for element in tree.iter() if "data-key" in element.attrib]
    assert keys == ["dl_df_12", "f_12", "omega_3"]
    assert "step 4" in "".join(tree.itertext())


def test_text_from_elsewhere_is_escaped() -> None:
    evil = Words("</math><script>&")
    assert "<script" not in as_mathml(evil)
    ElementTree.fromstring(as_mathml(evil))
    assert escaped("50% & a_b \\ {x} #1 $2 ^~") == (
        r"50\% \& a\_b \textbackslash{} \{x\} \#1 \$2 \textasciicircum{}\textasciitilde{}"
    )
    assert escaped("a < b > c | d") == r"a \textless{} b \textgreater{} c \textbar{} d"
    assert escaped("Größe, été \N{SNOWMAN}") == "Größe, été ?"


def test_every_node_is_known_to_every_writing() -> None:
    assert {type(case[0]) for case in CASES} | {Cases} == set(Expression.__subclasses__())
    for write in (as_text, as_latex, as_mathml):
        with pytest.raises(TypeError, match="is no expression"):
            write(Expression())


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_every_activation_has_its_formula(name: str) -> None:
    formula = activation_formula(name)
    for expression in (formula.value, formula.slope(Symbol("h"))):
        assert as_text(expression)
        ElementTree.fromstring(as_mathml(expression))


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_every_loss_has_its_formula(name: str) -> None:
    loss = Loss(name, huber_delta=1.5, quantile=0.25)
    formula = loss_formula(loss, Symbol("f"), Symbol("y"), Symbol("p"))
    texts = as_text(formula.value), as_text(formula.gradient)
    expected = {
        "squared_error": ("Σ_o (f_o − y_o)²", "2 (f − y)"),
        "absolute_error": ("Σ_o |f_o − y_o|", "sign(f − y)"),
        "huber": (
            "Σ_o ((f_o − y_o)²/2 where |f_o − y_o| ≤ 1.5, else 1.5 (|f_o − y_o| − 0.75))",
            "f − y where |f − y| ≤ 1.5, else 1.5 sign(f − y)",
        ),
        "quantile": ("Σ_o (0.5 |f_o − y_o| + 0.25 (f_o − y_o))", "0.5 sign(f − y) + 0.25"),
        "poisson": ("Σ_o (exp(f_o) − y_o f_o)", "p − y"),
        "binary_cross_entropy": ("Σ_o (log(1 + exp(f_o)) − y_o f_o)", "p − y"),
        "softmax_cross_entropy": ("−Σ_o y_o log(p_o)", "p − y"),
    }
    assert texts == expected[name]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (-0.0, "0.0000"),
        (1.23456, "1.2346"),
        (-9999.0, "-9999.0000"),
        (1e4, "1.00e+04"),
        (9.9e-4, "9.90e-04"),
        (-1e-300, "-1.00e-300"),
    ],
)
def test_numbers_are_read_easily(value: float, text: str) -> None:
    assert number(value) == text
