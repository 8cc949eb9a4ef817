"""The groups of the API: one module for each area, most of it declarative on `base`. Imported when first used."""

from typing import TYPE_CHECKING

from ..._lazy import lazy_names

if TYPE_CHECKING:
    from . import activity as activity
    from . import certificates as certificates
    from . import cluster as cluster
    from . import images as images
    from . import instances as instances
    from . import networks as networks
    from . import profiles as profiles
    from . import projects as projects
    from . import server as server
    from . import storage as storage
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__, {})
