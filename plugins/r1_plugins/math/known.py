"""The names that an expression may have in it: letters, functions, and operations that are tasks wherever found."""

from __future__ import annotations

_GREEK = """
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi
varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell
"""
OF_ANGLES = frozenset(("sin", "cos", "tan", "cot", "sec", "csc"))
_FUNCTIONS = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp sqrt"
_TASKS = """
sum prod int iint oint lim partial gcd lcm max min bmod pmod mod lfloor rfloor lceil rceil ldots cdots dots nabla det
sup inf limsup liminf
"""
WORD_TASKS = frozenset(("gcd", "lcm", "max", "min", "mod", "lim", "sum", "int", "floor", "ceil", "det"))
GREEK = frozenset(rf"\{name}" for name in _GREEK.split())
FUNCTIONS = frozenset(_FUNCTIONS.split())
TASKS = frozenset(rf"\{name}" for name in _TASKS.split())
INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
