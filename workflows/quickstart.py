"""The quick start of the README: from data to a report in eight calls."""

import bayesnn as bnn

data = bnn.datasets.load("yacht")
net = bnn.MLP(6, (16,), 1, activation="tanh", bias=True)
post = bnn.Posterior(
    net,
    data.x,
    data.y,
    likelihood=bnn.Gaussian(sigma_noise=0.1),
    prior=bnn.NormalPrior(prior_precision=1.0),
)
opt = bnn.find_optimum(post, n_starts=8, seed=0)
lap = bnn.fit_laplace(post, opt, curvature="ggn", structure="full")
tree = bnn.sample(lap, num_chains=16, num_warmup=200, num_samples=500, seed=0)
agree = bnn.compare(lap, tree)
bnn.write_report(tree, "report.html")
print(agree.sentence)
