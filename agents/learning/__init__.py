"""What all learners share: the contract, settings, files of agents and runs, observation and reward.

**The contract** (`learner.Learner`). An agent that learns has a name in the registry, and under it

    learner = agents.learner("cql")                  # or "vamo", "dt", "ppo" ...
    settings = learner.settings(file, assignments)   # packaged < file < "section.key=value"
    result = learner.train(experience, task=..., validation=..., settings=settings, seed=0, device="cpu",
                           out=..., force=False, save_every=..., progress=..., log_dir=...)
    bidder = agents.load(out)

- *experience* is logs (`TrajectoryData`, or several by task) or a market to play in (`MarketExperience`).
- *settings* are frozen dataclasses with one grammar for files and assignments (`settings`).
- *progress* is called as `progress(step, n_steps, record)`; a record has `step` and named `numbers`. True shows a bar,
  and so does None in a notebook (`progress`).
- *result* is a `TrainResult`: bidder, history, best record. A learner may extend it.
- *out* is one safetensors file (`checkpoint`): weights and normalisation, and a JSON record with kind, settings, tasks,
  hash of the data and version of the code. `OUT.run` beside it is the state of an unfinished run (`run_state`). A run
  that is killed at any moment and called again with the same arguments goes on to the same result; a finished `OUT`
  is left alone unless forced; the state of a run with other settings, data, task or seed is an error.

A package adds an agent that learns by an entry point that names an `AgentEntry` with a `learner`.
"""
