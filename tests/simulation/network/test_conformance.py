"""The simulated transports promise what every transport promises: the same tests, other worlds.

Time is the network's own here, and goes on whenever all tasks wait.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

SUITE = Path(__file__).parents[2] / "transport" / "test_conformance.py"
specification = spec_from_file_location("transport_conformance", SUITE)
suite = module_from_spec(specification)
specification.loader.exec_module(suite)
globals().update({name: value for name, value in vars(suite).items() if name.startswith("test_")})
