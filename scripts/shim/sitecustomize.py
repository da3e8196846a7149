"""Let Debian's ParaView 5.11 load Python plugins on Python 3.11; ParaView finds this on PYTHONPATH.

Its plugin code calls inspect.getargspec, which Python 3.11 has removed.
"""

import inspect

if not hasattr(inspect, "getargspec"):
    inspect.getargspec = inspect.getfullargspec
