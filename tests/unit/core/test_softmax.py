"""The one softmax: what a temperature may change, and what it may not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bin_daemon.core.softmax import softmax

logits = arrays(np.float32, 6, elements=st.floats(-50, 50, width=32))


@given(logits, st.floats(0.1, 10))
def test_a_temperature_never_changes_which_class_is_best(values, temperature):
    probabilities = softmax(values, temperature)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-4)
    assert probabilities[int(np.argmax(values))] == probabilities.max()


@given(logits)
def test_a_higher_temperature_is_never_more_certain(values):
    assert softmax(values, 2.0).max() <= softmax(values, 1.0).max() + 1e-6


@given(arrays(np.float32, (3, 6), elements=st.floats(-50, 50, width=32)))
def test_each_row_of_many_logits_is_treated_by_itself(rows):
    for row, likely in zip(rows, softmax(rows, 1.5), strict=True):
        np.testing.assert_array_equal(softmax(row, 1.5), likely)
