"""Orders of codes in the words of their pages, and what a form of an order says."""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

# State, what people read, and the tone of its badge.
STATES = {
    "PROCESSING": ("In progress", "info"),
    "PARTIALLY_COMPLETED": ("Partly delivered", "warning"),
    "COMPLETED": ("Delivered", "good"),
    "CANCELLED": ("Cancelled", "bad"),
}
UNIT_STATES = {
    "PROCESSING": ("To come", "info"),
    "COMPLETED": ("Delivered", "good"),
    "CANCELLED": ("Cancelled", "bad"),
    "OUT_OF_STOCK": ("Out of stock", "bad"),
}
DAY_STATES = {"OPEN": ("Open", "info"), "CLOSING": ("Closing", "info"), "CLOSED": ("Invoiced", "good")}
# As the fulfilment API has it.
MAX_QUANTITY = 1_000
MAX_FORM_LINES = 5
_QUANTITY = re.compile(r"[0-9]{1,6}")


class FormLine(Struct, frozen=True, kw_only=True):
    """A line of the form as it was filled in."""

    sku: str = ""
    quantity: str = ""
    problem: str = ""


def read_lines(form: Mapping[str, str]) -> tuple[Sequence[FormLine], Mapping[str, int]]:
    """Return the lines of a form with their problems, and the quantity of each product. Lines of one product add up."""
    lines, products = [], dict[str, int]()
    for number in range(MAX_FORM_LINES):
        sku, quantity = form.get(f"sku{number}", "").strip(), form.get(f"quantity{number}", "").strip()
        problem = ""
        if sku and not (_QUANTITY.fullmatch(quantity) and 1 <= int(quantity) <= MAX_QUANTITY):
            problem = f"The quantity must be a number from 1 to {MAX_QUANTITY:,}."
        elif quantity and not sku:
            problem = "Name the product."
        elif sku:
            products[sku] = products.get(sku, 0) + int(quantity)
        lines.append(FormLine(sku=sku, quantity=quantity, problem=problem))
    return lines, products


def describe_state(state: str) -> tuple[str, str]:
    """Return what people read of an order's state, and its tone."""
    return STATES.get(state, (state.capitalize(), "neutral"))
