"""Why does W = (B'B)^-1 B'd cycle? Every rule from the optimum and from random starts: table, figures, verdicts.

Run it with --quick for a first look (seconds instead of minutes).
"""

import sys

from rich.console import Console

from bayesnn.optimum import judge_conjectures, run_autopsy
from bayesnn.report import autopsy_table, write_autopsy

quick = "--quick" in sys.argv
autopsy = run_autopsy(sizes=(30, 300), n_starts=5, n_steps=100) if quick else run_autopsy()
Console().print(autopsy_table(autopsy))
for conjecture in judge_conjectures(autopsy):
    print(f"{conjecture.verdict}: {conjecture.claim}. {conjecture.evidence}.")
write_autopsy(autopsy, "autopsy.html")
print("report: autopsy.html")
