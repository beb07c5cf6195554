"""The columns that a table may have, and what in a data set comes from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from auction_env.tasks import BASES, QUANTITIES

Kind = Literal["campaign", "period", "tick", "time", "amount", "target", "category", "policy", "integer"]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table.

    Attributes:
        name: What it is called here; `mapping` names the table's own column.
        kind: Which rules its cells keep. An amount is a number that is not negative, a target one that is positive and
            the same in all rows of a campaign's period.
        description: Meaning and unit.
    """

    name: str
    kind: Kind
    description: str


SAMPLED = {"conversions": "conversions", "clicks": "clicks", "add_to_carts": "add_to_carts", "gmv": "value"}
"""By basis, the table's column of what happened."""

TARGETS = {basis: f"{quantity.target}_target" for basis, quantity in QUANTITIES.items()}
"""By basis, the column of what the advertiser would pay for a unit."""

_UNITS = {"conversions": "conversions", "clicks": "clicks", "add_to_carts": "add-to-carts", "gmv": "value, currency,"}

TABLE_COLUMNS: dict[str, TableColumn] = {
    column.name: column
    for column in (
        TableColumn("campaign", "campaign", "who bids: a name or a number; needed"),
        TableColumn("period", "period", "day of the row: an integer or a date; 0 without"),
        TableColumn("tick", "tick", "tick within the period, from 0; needed, or `time`"),
        TableColumn("time", "time", "time of the row, from which period and tick follow"),
        TableColumn("bid", "amount", "mean bid on an impression, currency; needed, or `multiplier`"),
        TableColumn("multiplier", "amount", "bid on a unit of the task's objective, such as a target CPC, currency"),
        TableColumn("cost", "amount", "paid in the tick, currency; needed"),
        TableColumn("volume", "amount", "impressions bid on, won or lost; needed, or `impressions`"),
        TableColumn("impressions", "amount", "impressions shown"),
        TableColumn("wins", "amount", "impressions won; those shown without"),
        TableColumn("conversions", "amount", "conversions of the impressions shown"),
        TableColumn("clicks", "amount", "clicks on the impressions shown"),
        TableColumn("add_to_carts", "amount", "add-to-carts of the impressions shown"),
        TableColumn("value", "amount", "gross merchandise value of the conversions, currency"),
        TableColumn("least_winning_cost", "amount", "mean over all impressions bid on, currency"),
        *(
            TableColumn(QUANTITIES[basis].offered, "amount", f"predicted {_UNITS[basis]} of all impressions bid on")
            for basis in BASES
        ),
        *(
            TableColumn(QUANTITIES[basis].expected, "amount", f"predicted {_UNITS[basis]} of the impressions shown")
            for basis in BASES
        ),
        TableColumn("budget", "target", "currency per period; needed"),
        TableColumn("cpa_target", "target", "worth of a conversion, currency; cost per conversion without"),
        TableColumn("cpc_target", "target", "worth of a click, currency; cost per click without"),
        TableColumn("cart_cost_target", "target", "worth of an add-to-cart, currency; cost per add-to-cart without"),
        TableColumn("roas_target", "target", "value per currency spent; the log's own without"),
        TableColumn("category", "category", "industry category: an integer; 0 without"),
        TableColumn("policy", "policy", "name of the policy that bid; empty without"),
    )
}
"""What a table may have, by name."""

ALTERNATIVES = (
    ("campaign",),
    ("tick", "time"),
    ("bid", "multiplier"),
    ("cost",),
    ("volume", "impressions"),
    ("budget",),
)
"""Of each of these a table must have at least one."""
