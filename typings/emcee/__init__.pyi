from emcee.ensemble import EnsembleSampler as EnsembleSampler
from emcee.state import State as State
