"""Which parts of Jinja2's language a message template may use, and the paying filters put around all that can grow."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

from jinja2 import nodes
from jinja2.environment import Environment
from jinja2.exceptions import TemplateSyntaxError
from jinja2.visitor import NodeTransformer

from alerthub.channels.sandbox import COMPARED, CONCAT, CUT, INTERNAL, LITERAL, LOOP, SEARCHED, TESTS

METHODS = frozenset({"upper", "lower", "title", "strip", "startswith", "endswith", "split", "get", "items"})
STATEMENTS = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.With, nodes.Assign)
EXPRESSIONS = (
    nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul,
    nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Operand, nodes.Keyword, nodes.Getattr,
)


class Bounder(NodeTransformer):
    """Refuses what is not listed here, and puts a paying filter around everything that can grow. Raises
    TemplateSyntaxError with the line."""

    def __init__(self, environment: Environment, known: Iterable[str]) -> None:
        self.environment, self.variables = environment, sorted(known)
        self.known = {*self.variables, "loop"}

    def refuse(self, node: nodes.Node, reason: str) -> TemplateSyntaxError:
        return TemplateSyntaxError(reason, node.lineno)

    def paying(self, name: str, value: nodes.Node, *args: nodes.Expr, kwargs: Iterable[nodes.Node] = ()) -> nodes.Filter:
        made = nodes.Filter(value, name, list(args), list(kwargs), None, None, lineno=value.lineno)
        made.set_environment(self.environment)
        return made

    def bound(self, tree: nodes.Template) -> nodes.Template:
        self.known |= {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
        bounded_tree = self.visit(tree)
        assert isinstance(bounded_tree, nodes.Template)
        return bounded_tree

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if not isinstance(node, STATEMENTS + EXPRESSIONS):
            raise self.refuse(node, f"{type(node).__name__} is not available in a message template")
        return super().generic_visit(node, *args, **kwargs)

    def visit_Const(self, node: nodes.Const) -> nodes.Node:  # noqa: N802
        if isinstance(node.value, float) and not isfinite(node.value):
            raise self.refuse(node, "a number that is too large")       # the compiler would write the name `inf`
        return node

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802
        if node.name not in self.known or node.name.startswith("_"):
            raise self.refuse(node, f"there is no variable {node.name!r}; there are {', '.join(self.variables)}")
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        if node.recursive:
            raise self.refuse(node, "a recursive loop is not available in a message template")
        weight = 1 + sum(1 for part in (*node.body, *filter(None, [node.test])) for _ in part.find_all(nodes.Node))
        super().generic_visit(node)
        node.iter = self.paying(LOOP, node.iter, nodes.Const(weight, lineno=node.lineno))
        return node

    def visit_List(self, node: nodes.List | nodes.Tuple) -> nodes.Node:  # noqa: N802
        super().generic_visit(node)
        is_target = isinstance(node, nodes.Tuple) and node.ctx != "load"
        return node if is_target else self.paying(LITERAL, node)

    visit_Tuple = visit_List  # noqa: N815

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        super().generic_visit(node)
        return self.paying(CONCAT, nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        super().generic_visit(node)
        node.expr = self.paying(COMPARED, node.expr)
        for operand in node.ops:
            operand.expr = self.paying(SEARCHED if operand.op in ("in", "notin") else COMPARED, operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        if not isinstance(node.arg, nodes.Slice):
            return super().generic_visit(node)
        nothing = nodes.Const(None, lineno=node.lineno)
        parts = [self.visit(part) if part else nothing for part in (node.arg.start, node.arg.stop, node.arg.step)]
        return self.paying(CUT, self.visit(node.node), *parts)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        if node.name not in self.environment.filters or node.name in INTERNAL:
            raise self.refuse(node, f"there is no filter {node.name!r}")
        if node.dyn_args or node.dyn_kwargs:
            raise self.refuse(node, "* and ** are not available in a message template")
        return super().generic_visit(node)

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802
        if node.name not in self.environment.tests:
            raise self.refuse(node, f"there is no test {node.name!r}; there are {', '.join(TESTS)}")
        return super().generic_visit(node)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        """`x.upper()` is the filter `upper`, `range(3)` is ours; nothing is ever called."""
        callee, arguments = node.node, [self.visit(argument) for argument in node.args]
        if node.dyn_args or node.dyn_kwargs:
            raise self.refuse(node, "* and ** are not available in a message template")
        if isinstance(callee, nodes.Name) and callee.name == "range" and arguments and not node.kwargs:
            return self.paying("range", arguments[0], *arguments[1:])
        if isinstance(callee, nodes.Getattr) and callee.attr in METHODS:
            return self.paying(callee.attr, self.visit(callee.node), *arguments, kwargs=map(self.visit, node.kwargs))
        raise self.refuse(node, f"only {', '.join(sorted(METHODS))} and range can be called")
