"""The columns of iPinYou's files, which have no header: the number of fields of a line says which they are.

Sources: W. Zhang et al., "Real-Time Bidding Benchmarking with iPinYou Dataset" (arXiv 1407.7073), and the schema of
make-ipinyou-data. Seasons 2 and 3 have 24 fields; bid logs lack `logtype`, `payprice` and `keypage`; season 1 lacks
`advertiser` and `usertag`; test logs end in the numbers of clicks and conversions. make-ipinyou-data writes a header
and puts `click`, `weekday` and `hour` before.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["bid", "imp", "clk", "conv"]
"""What a log has a line for: a bid, an impression, a click, a conversion."""

KINDS: Final[tuple[Kind, ...]] = ("bid", "imp", "clk", "conv")
SEASON_1 = "season-1"
"""The campaign of all bids of season 1, which does not say whose they are."""

_FIELDS = (
    "bidid", "timestamp", "logtype", "ipinyouid", "useragent", "IP", "region", "city", "adexchange", "domain", "url",
    "urlid", "slotid", "slotwidth", "slotheight", "slotvisibility", "slotformat", "slotprice", "creative", "bidprice",
    "payprice", "keypage", "advertiser", "usertag",
)  # fmt: skip
_NOT_OF_BIDS = ("logtype", "payprice", "keypage")
_NOT_OF_SEASON_1 = ("advertiser", "usertag")
_COUNTS = ("nclick", "nconversation")  # the spelling of make-ipinyou-data
FORMALISED = ("click", "weekday", "hour")
"""The fields that make-ipinyou-data puts before the others."""

USED = ("bidid", "creative", "timestamp", "bidprice", "payprice", "advertiser", "click", *_COUNTS)
"""The columns that an import reads, where a file has them."""


class Layout(NamedTuple):
    """The fields of a file's lines.

    Attributes:
        fields: Their names, in order.
        what: The file in words, for errors.
    """

    fields: tuple[str, ...]
    what: str

    @property
    def used(self) -> dict[str, int]:
        """The place of each column that is read."""
        return {name: self.fields.index(name) for name in USED if name in self.fields}


def _without(*absent: str) -> tuple[str, ...]:
    return tuple(name for name in _FIELDS if name not in absent)


LAYOUTS: dict[Literal["bids", "events"], tuple[Layout, ...]] = {
    "bids": (
        Layout(_without(*_NOT_OF_BIDS), "a bid log of season 2 or 3"),
        Layout(_without(*_NOT_OF_BIDS, *_NOT_OF_SEASON_1), "a bid log of season 1"),
    ),
    "events": (
        Layout(_FIELDS, "a log of season 2 or 3"),
        Layout(_without(*_NOT_OF_SEASON_1), "a log of season 1"),
        Layout((*_FIELDS, *_COUNTS), "a test log"),
        Layout((*FORMALISED, *_FIELDS), "a train.log.txt of make-ipinyou-data"),
        Layout((*FORMALISED, *_FIELDS, *_COUNTS), "a test.log.txt of make-ipinyou-data"),
    ),
}
"""The layouts of bid logs, and of those of impressions, clicks and conversions."""
