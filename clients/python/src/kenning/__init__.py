"""A client of Kenning, a knowledge base for AI agents.

    from kenning import Kenning

    with Kenning() as kb:
        kb.store("Mia keeps a cat, a dog and two parrots.", {"topic": "people"})
        for hit in kb.search("Which animals live with her?"):
            print(hit.relevance, hit.content)

`AsyncKenning` has the same calls for asyncio.
"""

from ._version import VERSION as __version__
from .aio import AsyncKenning
from .client import Kenning
from .errors import (
    Conflict,
    ConnectionFailed,
    DimensionMismatch,
    EmbeddingUnavailable,
    Forbidden,
    GuestFailed,
    ImportFailed,
    InvalidFilter,
    InvalidRequest,
    KenningError,
    NotFound,
    Overloaded,
    QuotaExceeded,
    Rejected,
    StorageFull,
    StorageUnavailable,
    Timeout,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
)
from .types import (
    Change,
    Draft,
    Facet,
    FacetValue,
    Fact,
    FactsDeleted,
    Filter,
    Fusion,
    Highlight,
    Hit,
    ImportSummary,
    Metadata,
    Mode,
    Page,
    Recency,
    RefusedLine,
    Search,
    SearchResult,
    Stats,
    Stored,
    StoreMode,
    Updated,
)

__all__ = [
    "AsyncKenning",
    "Change",
    "Conflict",
    "ConnectionFailed",
    "DimensionMismatch",
    "Draft",
    "EmbeddingUnavailable",
    "Facet",
    "FacetValue",
    "Fact",
    "FactsDeleted",
    "Filter",
    "Forbidden",
    "Fusion",
    "GuestFailed",
    "Highlight",
    "Hit",
    "ImportFailed",
    "ImportSummary",
    "InvalidFilter",
    "InvalidRequest",
    "Kenning",
    "KenningError",
    "Metadata",
    "Mode",
    "NotFound",
    "Overloaded",
    "Page",
    "QuotaExceeded",
    "Recency",
    "RefusedLine",
    "Rejected",
    "Search",
    "SearchResult",
    "Stats",
    "StorageFull",
    "StorageUnavailable",
    "StoreMode",
    "Stored",
    "Timeout",
    "TooLarge",
    "Unauthorized",
    "UnexpectedAnswer",
    "Updated",
    "__version__",
]
