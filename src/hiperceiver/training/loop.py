"""The training loop."""

from hiperceiver.training.evaluation import autocast
from hiperceiver.training.optimizer import set_learning_rate
from hiperceiver.training.run_state import Run


def train_steps(run: Run) -> None:
    """Take optimizer steps until the run is over or interrupted.

    A step takes `accumulate` batches of every process. Each term of the loss is a mean over what counts in all of them
    (labelled pixels, hidden tokens): counted first, so that the gradients of the parts add up to that of one large
    batch, however unevenly it is divided.
    """
    settings, strategy, fabric = run.settings, run.strategy, run.fabric
    task, model, optimizer = strategy.task, strategy.model, strategy.optimizer
    batches = iter(run.batches)

    if run.is_interrupted and run.step == 0:
        run.save()
    while not run.is_over and not run.is_interrupted:
        # Batches
        window = [next(batches) for _ in range(settings.accumulate)]
        num_examples = run.count_examples(window)
        parts = run.draw_parts(window)
        counts = run.count_terms(parts)

        # Loss, backward
        for part in parts if num_examples > 0 else ():  # a step without a readable example changes nothing
            with fabric.no_backward_sync(model, enabled=part is not parts[-1]):
                with autocast(fabric.device, settings.precision):
                    terms = model(part.batch, part.drawn)
                loss, logs = task.weigh(terms, counts)  # this part's share of the loss of the step
                fabric.backward(loss * part.weight)
            run.add_loss(part, loss, logs)

        # Clip, step
        if num_examples > 0:
            run.gradient_norm = strategy.clip(settings.gradient_clip)
            if run.accepts_step():
                set_learning_rate(optimizer, run.learning_rate)
                optimizer.step()
                if strategy.average is not None:
                    strategy.average.update_parameters(task)
            optimizer.zero_grad()
        run.finish_step()

        # Log
        if run.step % settings.log_every == 0 or run.is_over:
            run.log_losses()
        run.display.update(run.step, run.loss, is_last=run.is_over)

        # Validate, checkpoint
        is_validation_due, is_save_due = run.decide()
        if is_save_due or run.is_over or run.is_interrupted:
            run.save(is_validation_due=is_validation_due)  # before a long validation, in which the run may be killed
        if is_validation_due and not run.is_interrupted:
            is_best = run.validate()
            if is_best or run.is_over or run.is_interrupted:
                run.save(is_best=is_best, is_validation_due=not run.is_validated)
