"""Searches as one would write them down: Python lists, float64, every candidate looked at."""

import itertools

import numpy as np

NEVER = -np.inf


def log_softmax(logits):
    """Give log-probabilities in float64; NaN is a probability of 0."""
    logits = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shifted = logits - logits.max(-1, keepdims=True)
        out = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return np.where(np.isnan(out), NEVER, out)


def next_log_probs(table, tokens):
    """Look up the log-probabilities `[V]` after a history in `[T, histories, V]`."""
    row = 0
    for token in tokens:
        row = row * table.shape[-1] + token
    return table[len(tokens), row]


def exhaustive(table, end, factors):
    """Score every sequence of up to T tokens, in the order that `beam_search` documents.

    Returns:
      A list of (tokens, score, log-probability, finished); what cannot be is left out.
    """
    num_steps = table.shape[0]
    finished, unfinished = [], []
    alive = [((), 0.0, ())]  # tokens, log-probability, what orders it: the smaller first
    for t in range(num_steps):
        grown = []
        for tokens, log_prob, order in alive:
            for token, more in enumerate(next_log_probs(table, tokens)):
                total = log_prob + more
                if total > NEVER:
                    grown.append(((*tokens, token), total, (-total, order, token)))
        for tokens, total, order in grown:
            if tokens[-1] == end:
                finished.append((-total * factors[t], t, order, tokens, total))
        alive = [entry for entry in grown if entry[0][-1] != end]
    unfinished = sorted((order, tokens, total) for tokens, total, order in alive)
    out = [(tokens, -score, total, True) for score, _, _, tokens, total in sorted(finished)]
    return out + [(tokens, total * factors[-1], total, False) for _, tokens, total in unfinished]


def beam(table, end, factors, beam_size, num_results):
    """Search with a beam, for all T steps: what `beam_search` documents, without its stop."""
    live, finished = [((), 0.0)], []
    for t in range(table.shape[0]):
        candidates = []
        for rank, (tokens, log_prob) in enumerate(live):
            for token, more in enumerate(next_log_probs(table, tokens)):
                if log_prob + more > NEVER:
                    candidates.append((-(log_prob + more), rank, token, tokens))
        candidates.sort()
        for negative, _, token, tokens in candidates[:beam_size]:
            if token == end:
                finished.append(((*tokens, token), -negative * factors[t], -negative, True))
        finished = sorted(finished, key=lambda entry: -entry[1])[:num_results]  # stable
        going = [entry for entry in candidates[: 2 * beam_size] if entry[2] != end]
        live = [((*tokens, token), -negative) for negative, _, token, tokens in going[:beam_size]]
    unfinished = [(tokens, total * factors[-1], total, False) for tokens, total in live]
    return (finished + unfinished)[:num_results]


def collapse(path, blank):
    """Take out repetitions, then blanks."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def all_alignments(log_probs, blank):
    """Sum the probabilities of all V^T alignments `[T, V]` by the labels they give.

    Returns:
      A dict from labels to the log of the sum.
    """
    num_steps, size = log_probs.shape
    found = {}
    for path in itertools.product(range(size), repeat=num_steps):
        total = sum(log_probs[t, label] for t, label in enumerate(path))
        labels = collapse(path, blank)
        found[labels] = np.logaddexp(found.get(labels, NEVER), total)
    return {labels: total for labels, total in found.items() if total > NEVER}


def prefix_beam(log_probs, blank, beam_size, gain_of=lambda labels: 0.0):
    """Search with a beam of a dict, keyed by whole label sequences.

    Args:
      log_probs: `[T, V]`.
      blank: the index of the blank.
      beam_size: how many prefixes are kept.
      gain_of: what is added to a prefix' log-probability to rank it.

    Returns:
      A list of (labels, log-probability), the best first.
    """

    def rank(item):
        labels, (in_blank, in_label) = item
        return -(np.logaddexp(in_blank, in_label) + gain_of(labels))

    beam = {(): (0.0, NEVER)}
    for row in log_probs:
        grown = {}

        def add(labels, in_blank, in_label, grown=grown):
            old = grown.get(labels, (NEVER, NEVER))
            grown[labels] = np.logaddexp(old[0], in_blank), np.logaddexp(old[1], in_label)

        for labels, (in_blank, in_label) in beam.items():
            both = np.logaddexp(in_blank, in_label)
            for label, more in enumerate(row):
                if label == blank:
                    add(labels, both + more, NEVER)
                elif labels and label == labels[-1]:
                    add(labels, NEVER, in_label + more)
                    add((*labels, label), NEVER, in_blank + more)
                else:
                    add((*labels, label), NEVER, both + more)
        possible = {k: v for k, v in grown.items() if max(v) > NEVER}
        beam = dict(sorted(possible.items(), key=rank)[:beam_size])
    return [(labels, np.logaddexp(*sums)) for labels, sums in sorted(beam.items(), key=rank)]


def ctc_log_prob(log_probs, labels, blank):
    """Sum over the alignments `[T, V]` of given labels, T >= 1, by the forward algorithm."""
    extended = [blank]
    for label in labels:
        extended += [label, blank]
    may_skip = [s > 1 and extended[s] not in (blank, extended[s - 2]) for s in range(len(extended))]
    forward = np.full(len(extended), NEVER)
    forward[:2] = log_probs[0][extended[:2]]
    for row in log_probs[1:]:
        one = np.append(NEVER, forward)[: len(extended)]
        two = np.where(may_skip, np.append([NEVER, NEVER], forward)[: len(extended)], NEVER)
        forward = np.logaddexp(np.logaddexp(forward, one), two) + row[extended]
    return np.logaddexp.reduce(forward[-2:])
