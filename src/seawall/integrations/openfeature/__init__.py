"""OpenFeature: flags of any provider turn patterns and policies on and off, for all calls or a share of them.

`pip install seawall[openfeature]`, and `RemoteFlags(board)`, started with the service. No call ever asks a flag.
"""

from seawall.integrations.openfeature.events import FlagsFailed, FlagsRecovered
from seawall.integrations.openfeature.flags import RemoteFlags
from seawall.integrations.openfeature.keys import flag_key

__all__ = ["FlagsFailed", "FlagsRecovered", "RemoteFlags", "flag_key"]
