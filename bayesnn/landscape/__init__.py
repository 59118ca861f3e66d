"""What theory says of linearized networks: conditions, linear residual and recurrent networks."""
