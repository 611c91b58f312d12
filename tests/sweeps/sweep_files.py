"""Sweep files, valid and invalid.

`CASES` maps a name to (file, part of chainrule's error or "" if the file is valid, whether W&B's validator accepts it).
"""

from __future__ import annotations

GOOD = """
program: train.py
method: {method}
metric: {{name: val_accuracy, goal: maximize}}
parameters:
  dataset: {{value: digits}}
  learning_rate: {learning_rate}
"""


def with_rate(spec: str, method: str = "random") -> str:
    """A file whose learning rate is as given."""
    return GOOD.format(method=method, learning_rate=spec)


def with_top(lines: str) -> str:
    """A file with further lines at its top level."""
    return with_rate("{values: [0.1, 0.01]}") + lines + "\n"


def without_metric(method: str, more: str = "") -> str:
    return f"method: {method}\nparameters: {{epochs: {{values: [1, 2]}}}}\n{more}\n"


def with_metric(metric: str, method: str = "random") -> str:
    return f"method: {method}\nmetric: {metric}\nparameters: {{epochs: {{values: [1, 2]}}}}\n"


def parameters(content: str, method: str = "random") -> str:
    return f"method: {method}\nmetric: {{name: val_loss, goal: minimize}}\nparameters: {content}\n"


CASES: dict[str, tuple[str, str, bool]] = {
    # --- every distribution
    "values": (with_rate("{values: [0.1, 0.01]}"), "", True),
    "value": (with_rate("{value: 0.1}"), "", True),
    "constant": (with_rate("{distribution: constant, value: 0.1}"), "", True),
    "categorical": (with_rate("{distribution: categorical, values: [0.1, 0.2]}"), "", True),
    "probabilities": (with_rate("{values: [0.1, 0.2], probabilities: [0.3, 0.7]}"), "", True),
    "named probabilities": (
        with_rate("{distribution: categorical_w_probabilities, values: [0.1, 0.2], probabilities: [0.3, 0.7]}"),
        "",
        True,
    ),
    "min and max": (with_rate("{min: 0.001, max: 0.1}"), "", True),
    "whole min and max": (parameters("{hidden_size: {min: 8, max: 64}}"), "", True),
    "uniform": (with_rate("{distribution: uniform, min: 0.001, max: 0.1}"), "", True),
    "q_uniform": (parameters("{hidden_size: {distribution: q_uniform, min: 8, max: 64, q: 8}}"), "", True),
    "log_uniform_values": (with_rate("{distribution: log_uniform_values, min: 0.0001, max: 0.1}"), "", True),
    "q_log_uniform_values": (
        parameters("{hidden_size: {distribution: q_log_uniform_values, min: 8, max: 512, q: 8}}"),
        "",
        True,
    ),
    "inv_log_uniform_values": (with_rate("{distribution: inv_log_uniform_values, min: 0.001, max: 0.1}"), "", True),
    "normal": (
        parameters("{momentum: {distribution: normal, mu: 0.5, sigma: 0.01}, optimizer: {value: nag}}"),
        "",
        True,
    ),
    "q_normal": (
        parameters("{hidden_size: {distribution: q_normal, mu: 500, sigma: 10, q: 4}}"),
        "",
        True,
    ),
    "log_normal": (with_rate("{distribution: log_normal, mu: -7, sigma: 0.5}"), "", True),
    "q_log_normal": (parameters("{hidden_size: {distribution: q_log_normal, mu: 6, sigma: 0.1, q: 2}}"), "", True),
    "beta": (parameters("{weight_decay: {distribution: beta, a: 3, b: 30}}"), "", True),
    "q_beta": (parameters("{weight_decay: {distribution: q_beta, a: 2, b: 5, q: 0.1}}"), "", True),
    "int_uniform": (parameters("{num_layers: {distribution: int_uniform, min: 1, max: 5}}"), "", True),
    # --- methods and the top level
    "grid": (with_rate("{values: [0.1, 0.01]}", "grid"), "", True),
    "grid of ranges": (parameters("{num_layers: {min: 1, max: 3}}", "grid"), "", True),
    "grid of steps": (
        parameters("{hidden_size: {distribution: q_uniform, min: 8, max: 64, q: 8}}", "grid"),
        "",
        True,
    ),
    "bayes": (with_rate("{min: 0.001, max: 0.1}", "bayes"), "", True),
    "no metric": (without_metric("random"), "", True),
    "target": (with_metric("{name: val_loss, goal: minimize, target: 0.1}"), "", True),
    "run_cap": (with_top("run_cap: 5"), "", True),
    "min_iter": (with_top("early_terminate: {type: hyperband, min_iter: 2, eta: 2, strict: false}"), "", True),
    "max_iter": (with_top("early_terminate: {type: hyperband, max_iter: 27, s: 2}"), "", True),
    "name and project": (with_top("name: a sweep\ndescription: of mine\nproject: p\nentity: e\nkind: sweep"), "", True),
    "nested": (
        parameters("{model: {parameters: {num_layers: {values: [1, 2]}, activation: {value: tanh}}}}"),
        "",
        True,
    ),
    "grid of steps from elsewhere": (
        parameters("{hidden_size: {distribution: q_uniform, min: 1, max: 10, q: 2}}", "grid"),
        "",
        True,
    ),
    "list values": (parameters("{hidden_size: {values: [[16, 8], [32, 16]]}}"), "", True),
    "default command": (with_top('command: ["${env}", "${interpreter}", "${program}", "${args}"]'), "", True),
    "command with flags": (with_top('command: ["${env}", python3, "${program}", -b, "64", "${args}"]'), "", True),
    # --- invalid for both
    "no method": ("parameters: {epochs: {value: 1}}\n", "method must be one of grid, random, bayes, got None", False),
    "wrong method": (without_metric("bays"), "method must be one of grid, random, bayes, got 'bays'", False),
    "no parameters": ("method: random\n", "parameters must name at least one setting", False),
    "empty parameters": (parameters("{}"), "parameters must name at least one setting", False),
    "misspelt key": (with_top("metrik: 1"), "unknown key 'metrik'. Did you mean 'metric'?", False),
    "misspelt values": (
        with_rate("{valeus: [1]}"),
        "unknown key 'learning_rate.valeus'. Did you mean 'values'?",
        False,
    ),
    "min above max": (with_rate("{min: 0.5, max: 0.1}"), "min 0.5 must be below max 0.1", False),
    "whole min above max": (parameters("{num_layers: {min: 5, max: 1}}"), "min 5 must be below max 1", False),
    "min without max": (with_rate("{min: 0.1}"), "it needs a value, values, min and max", False),
    "uniform without max": (with_rate("{distribution: uniform, min: 0.1}"), "uniform needs max", False),
    "min as text": (with_rate("{min: 1e-4, max: 0.1}"), "YAML reads 1e-4 as text: write 1.0e-4", False),
    "empty values": (with_rate("{values: []}"), "values must not be empty", False),
    "values no list": (with_rate("{values: 0.1}"), "values must be a list, got 0.1", False),
    "bare value": (with_rate("0.1"), "learning_rate must be a mapping, such as `learning_rate: {value: 0.1}`", False),
    "too few probabilities": (
        with_rate("{values: [0.1, 0.2], probabilities: [1.0]}"),
        "there are 2 values but 1 probabilities",
        False,
    ),
    "probabilities that do not add up": (
        with_rate("{values: [0.1, 0.2], probabilities: [0.5, 0.6]}"),
        "probabilities must be 0 or more and add up to 1",
        False,
    ),
    "named categorical with probabilities": (
        with_rate("{distribution: categorical, values: [0.1, 0.2], probabilities: [0.5, 0.5]}"),
        "the distribution categorical does not go with values and probabilities; leave it out",
        False,
    ),
    "unknown distribution": (with_rate("{distribution: unifrom, min: 1, max: 2}"), "Did you mean 'uniform'?", False),
    "log_uniform": (
        with_rate("{distribution: log_uniform, min: -9, max: -1}"),
        "W&B has deprecated the distribution log_uniform, whose limits are logarithms. Use log_uniform_values",
        False,
    ),
    "log of zero": (
        with_rate("{distribution: log_uniform_values, min: 0, max: 0.1}"),
        "min must be a number above 0, got 0",
        False,
    ),
    "no step": (
        parameters("{hidden_size: {distribution: q_uniform, min: 8, max: 64, q: 0}}"),
        "q must be a number above 0, got 0",
        False,
    ),
    "value and values": (with_rate("{value: 1, values: [1]}"), "the distribution constant has no values", False),
    "wrong goal": (with_metric("{name: val_loss, goal: minimise}"), "metric.goal must be maximize or minimize", False),
    "metric without a name": (with_metric("{goal: minimize}"), "metric.name must be one of val_accuracy", False),
    "metric a text": (with_metric("val_loss"), "metric must be a mapping with name, goal", False),
    "run_cap 0": (with_top("run_cap: 0"), "run_cap must be a whole number of 1 or more, got 0", False),
    "run_cap as text": (with_top("run_cap: many"), "run_cap must be a whole number of 1 or more, got 'many'", False),
    "unknown early termination": (
        with_top("early_terminate: {type: median}"),
        "early_terminate.type must be hyperband, got 'median'",
        False,
    ),
    "early termination without limits": (
        with_top("early_terminate: {type: hyperband}"),
        "early_terminate needs either min_iter, or max_iter and s",
        False,
    ),
    "eta 1": (
        with_top("early_terminate: {type: hyperband, min_iter: 1, eta: 1}"),
        "early_terminate.eta must be a number above 1, got 1",
        False,
    ),
    "misspelt min_iter": (
        with_top("early_terminate: {type: hyperband, min_iter: 1, etta: 2}"),
        "unknown key 'early_terminate.etta'. Did you mean 'eta'?",
        False,
    ),
    "kind": (with_top("kind: launch"), "kind must be sweep, got 'launch'", False),
    "command a text": (with_top("command: python train.py"), "command must be a list such as", False),
    # --- accepted by W&B, and refused here because the result would not be what the file says
    "unknown setting": (parameters("{learning_rte: {value: 1}}"), "unknown setting 'learning_rte'. Did you mean", True),
    "impossible value": (
        parameters("{optimizer: {values: [adam, admm]}}"),
        "Unknown optimizer 'admm'. Did you mean 'adam'?",
        True,
    ),
    "value out of range": (parameters("{epochs: {values: [1, 0]}}"), "epochs must be a whole number from 1", True),
    "range out of range": (
        with_rate("{min: -1.0, max: 0.1}"),
        "learning_rate must be a number above 0, got -1.0",
        True,
    ),
    "value as text": (with_rate("{values: [1e-4, 0.1]}"), "YAML reads 1e-4 as text: write 1.0e-4", True),
    "twice the same": (with_rate("{values: [0.1, 0.1]}"), "values holds the same value twice", True),
    "test accuracy": (with_metric("{name: test_accuracy, goal: maximize}"), "by its test accuracy", True),
    "accuracy without a goal": (with_metric("{name: val_accuracy}"), "W&B would minimize val_accuracy", True),
    "impute": (
        with_metric("{name: val_loss, goal: minimize, impute: best}"),
        "impute is not supported: trials that fail are left out",
        True,
    ),
    "controller": (with_top("controller: {type: local}"), "controller is not supported", True),
    "job": (with_top("job: my-job"), "job is not supported: trials are runs of train.py", True),
    "other program": (
        with_top("program: main.py").replace("program: train.py\n", ""),
        "program must be train.py",
        True,
    ),
    "other macro": (
        with_top('command: ["${env}", "${interpreter}", "${program}", "${args_json_file}"]'),
        "${args_json_file} in command is not supported",
        True,
    ),
    "other interpreter": (
        with_top('command: [torchrun, "${program}", "${args}"]'),
        "command must run ${program}",
        True,
    ),
    "run_name": (parameters("{run_name: {value: x}}"), "run_name cannot be a parameter: the sweep chooses it", True),
    "endless grid": (
        with_rate("{min: 0.001, max: 0.1}", "grid"),
        "learning_rate: a grid cannot enumerate it",
        True,
    ),
    "bayes without a metric": (without_metric("bayes"), "bayes and early_terminate need a metric", True),
    "same name in two groups": (
        parameters("{a: {parameters: {epochs: {value: 1}}}, b: {parameters: {epochs: {value: 2}}}}"),
        "epochs is given a second time, in another group",
        True,
    ),
    "a date": (parameters("{optimizer: {value: 2024-01-01}}"), "YAML reads a date in", True),
    "steps between": (
        parameters("{batch_size: {distribution: q_uniform, min: 8, max: 16, q: 0.5}}"),
        "batch_size must be a whole number",
        True,
    ),
    "an eta just above 1": (with_top("early_terminate: {type: hyperband, min_iter: 1, eta: 1.0000001}"), "", True),
    "empty name": (with_top("name: ''"), "name must be a plain folder name", True),
    "run_name in the command": (
        with_top('command: ["${env}", "${interpreter}", "${program}", --run_name, x, "${args}"]'),
        "command: --run_name cannot be given: the sweep chooses it",
        True,
    ),
    "a macro within a word": (
        with_top('command: ["${env}", "${interpreter}", "${program}", "--seed=${envvar:S}", "${args}"]'),
        "--seed=${envvar:S} in command is not supported",
        True,
    ),
    "no validation": (
        parameters("{val_fraction: {value: 0}}"),
        "val_loss needs a validation set, and val_fraction is 0",
        True,
    ),
    "yes and no": (
        parameters("{activation: {values: [yes, ReLU]}}"),
        "YAML reads this as True; put it into quotes",
        True,
    ),
}
