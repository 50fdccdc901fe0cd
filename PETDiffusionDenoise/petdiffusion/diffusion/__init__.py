"""The mathematics of diffusion, as pure functions of tensors: schedules, parameterisations, samplers, estimates.

Everything is written in one picture: x = x0 + sigma n with n standard normal, and one function D(x, sigma, cond),
the mean of all clean images that could have given x. Variance-preserving models (DDPM) are the same picture seen
through x_vp = x / sqrt(1 + sigma^2), with alpha_bar = 1 / (1 + sigma^2).
"""
