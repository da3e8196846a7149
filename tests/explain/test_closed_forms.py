"""Every method against what pencil and paper say of a linear network, in two and three dimensions."""

import itertools

import numpy as np
import pytest
from toy import LinearNetwork

from tensorview_insitu.explain import (
    ExplainError,
    deconvolution,
    deletion_curve,
    exciting_images,
    grad_cam,
    grad_cam_plus_plus,
    gradient_times_input,
    insertion_curve,
    integrated_gradients,
    lime,
    maximize_class,
    maximize_filter,
    meaningful_perturbation,
    occlusion,
    randomization_check,
    rise,
    saliency,
    smooth_grad,
    tutorial_grad_cam,
)
from tensorview_insitu.explain.activation_maximization import lp_norm, total_variation
from tensorview_insitu.explain.focus import rank_correlation, share_inside
from tensorview_insitu.explain.lime import ridge_regression, sample_weights
from tensorview_insitu.explain.meaningful_perturbation import edges
from tensorview_insitu.explain.methods import METHODS, WITHOUT_CLASS, method_named
from tensorview_insitu.explain.separable import apply, blur, blurring, resize, resizing

SHAPES = [(12, 16, 3), (6, 8, 10, 2)]


def made(shape, classes=3, count=2, **settings):
    rng = np.random.default_rng(0)
    network = LinearNetwork(rng.normal(size=(classes, *shape)), **settings)
    return network, rng.random((count, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_methods_of_a_linear_network_are_its_weights(shape):
    network, images = made(shape)
    strongest = network.predict(images).scores.argmax(axis=1)
    weights = network.table[strongest]
    found = saliency(network, images)
    np.testing.assert_array_equal(found.classes, strongest)
    np.testing.assert_allclose(found.maps, np.abs(weights).max(axis=-1))
    np.testing.assert_allclose(smooth_grad(network, images, samples=3).maps, found.maps, rtol=1e-6)
    np.testing.assert_allclose(
        gradient_times_input(network, images).maps, (weights * images).sum(axis=-1), rtol=1e-5
    )
    by_hand = (weights * (images - 0.25)).sum(axis=-1)
    integrated = integrated_gradients(network, images, baseline=0.25, steps=5)
    np.testing.assert_allclose(integrated.maps, by_hand, rtol=1e-4, atol=1e-5)
    assert np.abs(integrated.about["completeness_error"]).max() < 1e-3


def test_integrated_gradients_of_a_probability_add_up_better_with_more_steps():
    network, images = made(SHAPES[0], bias=[0.0, 1.0, -1.0])
    network.table *= 0.1
    errors = [
        np.abs(
            integrated_gradients(network, images, steps=n, of="probability").about["completeness_error"]
        ).max()
        for n in (3, 9, 200)
    ]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_grad_cam_weighs_maps_with_their_mean_gradients(shape):
    network, images = made(shape)
    space = tuple(range(len(shape) - 1))
    classes = np.array([2, 0])
    means = network.table[classes].mean(axis=tuple(a + 1 for a in space))
    summed = np.stack([image @ mean for image, mean in zip(images, means, strict=True)])
    found = grad_cam(network, images, classes)
    np.testing.assert_allclose(found.maps, np.maximum(summed, 0), atol=1e-6)
    assert found.about["layer"] == "copy" and found.about["layer_why"] == "the only one"
    gated = np.where((images > 0) & (network.table[classes] > 0), network.table[classes], 0)
    weights = gated.mean(axis=tuple(a + 1 for a in space))
    legacy = np.stack([image @ weight for image, weight in zip(images, weights, strict=True)])
    tutorial = tutorial_grad_cam(network, images, classes).maps
    assert tutorial.min() == 0 and tutorial.max() == 254.0 or tutorial.max() == 255.0
    for one, other in zip(legacy, tutorial, strict=True):
        np.testing.assert_allclose((one - one.min()) / np.ptp(one) * 255, other, atol=1.01)


def test_grad_cam_plus_plus_by_the_papers_formula():
    network, images = made(SHAPES[0], classes=2, count=1)
    g, a = network.table[[1]], images
    alpha = g**2 / (2 * g**2 + a.sum(axis=(1, 2), keepdims=True) * g**3)
    weights = (alpha * np.maximum(g, 0)).sum(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * a).sum(axis=-1), 0)
    np.testing.assert_allclose(grad_cam_plus_plus(network, images, 1).maps, expected, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_occlusion_of_a_linear_network_is_what_each_patch_adds(shape):
    network, images = made(shape, squashed=False)
    patch, stride = 3, 2
    found = occlusion(network, images, 1, patch=patch, stride=stride, fill=0.5, of="score")
    parts = (network.table[1] * (images - 0.5)).sum(axis=-1)
    total, count = np.zeros_like(parts), np.zeros(shape[:-1])
    starts = [sorted({*range(0, n - patch + 1, stride), n - patch}) for n in shape[:-1]]
    for corner in itertools.product(*starts):
        place = tuple(slice(c, c + patch) for c in corner)
        for one, part in zip(total, parts, strict=True):
            one[place] += part[place].sum()
        count[place] += 1
    assert count.min() >= 1
    np.testing.assert_allclose(found.maps, total / count, rtol=1e-3, atol=1e-4)


def test_lime_finds_the_weights_of_a_network_that_is_linear_in_the_superpixels():
    network, images = made((12, 16, 1), classes=2, squashed=False)
    segments = np.add.outer(np.arange(12) // 4 * 4, np.arange(16) // 4)
    found = lime(network, images, 1, segments=segments, ridge=1e-9, samples=400, weighted=False)
    for number, image in enumerate(images):
        expected = []
        for segment in range(12):
            inside = segments == segment
            expected.append((network.table[1][inside] * (image[inside] - image[inside].mean())).sum())
        np.testing.assert_allclose(found.about["weights"][number], expected, atol=1e-4)
    assert found.about["fit"].min() > 0.9999
    again = lime(network, images, 1, segments=segments, samples=50, seed=3).maps
    np.testing.assert_array_equal(again, lime(network, images, 1, segments=segments, samples=50, seed=3).maps)
    assert not np.array_equal(again, lime(network, images, 1, segments=segments, samples=50, seed=4).maps)


def test_the_ridge_regression_of_lime_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    shown = rng.integers(0, 2, (80, 9)).astype(bool)
    shown[0] = True
    answers, weights = rng.random(80), sample_weights(shown, 0.25)
    ours, fit = ridge_regression(shown.astype(float), answers, weights, 1.0)
    theirs = linear_model.Ridge(alpha=1.0).fit(shown, answers, sample_weight=weights)
    np.testing.assert_allclose(ours, theirs.coef_, atol=1e-10)
    np.testing.assert_allclose(fit, theirs.score(shown, answers, sample_weight=weights), atol=1e-10)


@pytest.mark.parametrize("shape", [(40, 48, 3), (12, 16, 16, 1)])
def test_lime_makes_its_own_superpixels_also_of_one_channel_and_of_volumes(shape):
    pytest.importorskip("skimage")
    network, images = made(shape, count=1)
    images[:, 6:] += 1
    found = lime(network, images, samples=20)
    regions = found.about["segments"][0]
    assert regions.shape == shape[:-1] and regions.min() == 0
    assert len(np.unique(regions)) == regions.max() + 1 == len(found.about["weights"][0]) > 1


def test_rise_ranks_the_pixels_as_their_weights():
    weights = np.zeros((2, 14, 14, 1))
    weights[1, 2:5, 8:12] = 1
    network = LinearNetwork(weights, squashed=False)
    images = np.ones((1, 14, 14, 1), np.float32)
    found = rise(network, images, 1, masks=3000).maps[0]
    inside = weights[1, ..., 0] > 0
    assert found[inside].min() > np.quantile(found, 0.8)
    assert inside[np.unravel_index(found.argmax(), found.shape)]
    np.testing.assert_array_equal(found, rise(network, images, 1, masks=3000).maps[0])


def square_reader():
    """A network that looks at one square only."""
    weights = np.zeros((2, 32, 32, 1))
    weights[1, 8:20, 12:24] = 0.1
    rng = np.random.default_rng(0)
    images = np.zeros((1, 32, 32, 1), np.float32)
    images[0, 8:20, 12:24] = 1 + 0.1 * rng.random((12, 12, 1))
    return LinearNetwork(weights, [10.0, 0.0]), images, weights[1, ..., 0] > 0


def test_meaningful_perturbation_deletes_just_what_the_network_reads():
    network, images, read = square_reader()
    settings = {"reference": 0.0, "cells": 16, "iterations": 200}
    found = meaningful_perturbation(network, images, 1, **settings)
    before, after = found.about["probabilities"][0]
    assert before > 0.9 and after < 0.1 * before
    deleted = found.maps[0] > 0.5
    # As little as is needed: it need not be all of the square, but lies in it.
    assert (deleted & read).sum() >= 0.9 * deleted.sum() > 0
    dearer = meaningful_perturbation(network, images, 1, area=0.1, **settings)
    assert dearer.maps.sum() < found.maps.sum()


def test_meaningful_perturbation_preserves_the_answer_with_little():
    network, images, read = square_reader()
    found = meaningful_perturbation(
        network, images, 1, form="preservation", reference=0.0, cells=16, iterations=300, area=1e-3
    )
    before, after = found.about["probabilities"][0]
    kept = found.maps[0] > 0.5
    assert after > 0.9 * before and kept.mean() < 0.5
    assert (kept & read).sum() / (kept | read).sum() >= 0.6


def numeric(function, at, step=1e-3):
    slope = np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        moved = np.zeros(at.shape)
        moved[place] = step
        slope[place] = (function(at + moved) - function(at - moved)) / (2 * step)
    return slope


@pytest.mark.parametrize("term", [lambda m: edges(m, 3.0), total_variation, lambda m: lp_norm(m, 6.0)])
def test_the_gradients_of_the_penalties_are_those_of_finite_differences(term):
    at = np.random.default_rng(0).normal(size=(1, 4, 5, 2))
    if term is not total_variation and term(at)[0].shape == (1,) and "edges" in str(term.__code__.co_names):
        at = at[..., 0]
    np.testing.assert_allclose(term(at)[1], numeric(lambda a: term(a)[0][0], at), rtol=2e-3, atol=1e-5)


def test_the_penalties_are_what_they_say():
    images = np.random.default_rng(0).random((1, 5, 6, 2)).astype(np.float32)
    squares = sum((np.diff(images.astype(float), axis=a) ** 2).sum() for a in (1, 2))
    np.testing.assert_allclose(total_variation(images)[0], squares / 60, rtol=1e-6)
    np.testing.assert_allclose(lp_norm(images, 6.0)[0], (images.astype(float) ** 6).sum() ** (1 / 6) / 60)


def test_activation_maximization_climbs_and_a_price_on_edges_makes_it_smoother():
    network, _ = made((16, 16, 3))
    free = maximize_class(network, [0, 2], total_variation_weight=0.0, iterations=60)
    begin, end = free.about["answers"].T
    assert np.all(end > begin + 50) and free.about["images"].shape == (2, 16, 16, 3)
    assert 0 <= free.about["images"].min() and free.about["images"].max() <= 1
    # A linear class is maximal at the corners of the cube, on the side of its weights.
    agreement = np.mean((free.about["images"] > 0.5) == (network.table[[0, 2]] > 0))
    assert agreement > 0.95
    smooth = maximize_class(network, [0, 2], total_variation_weight=3e4, iterations=60)
    assert np.all(total_variation(smooth.about["images"])[0] < 0.5 * total_variation(free.about["images"])[0])
    filters = maximize_filter(network, filters=[1], iterations=60, low=-1, high=2)
    assert filters.about["images"][0, ..., 1].mean() > 1.5


def test_the_images_that_excite_a_filter_most_come_first():
    network, images = made((12, 16, 3), count=20)
    found = exciting_images(network, images, 1, top=4)
    strongest = images[..., 1].reshape(20, -1).max(axis=1)
    assert list(found.images) == list(np.argsort(-strongest)[:4])
    for number, place, patch in zip(found.images, found.places, found.patches, strict=True):
        assert images[number, place[0], place[1], 1] == strongest[number]
        assert patch == tuple((i, i + 1) for i in place)


def test_curves_of_a_linear_network_fall_and_rise_as_its_parts_do():
    network, images = made((8, 8, 1), squashed=False, count=1)
    parts = (network.table[1] * images[0])[..., 0]
    whole = parts.sum()
    curve = deletion_curve(network, images, parts[None], 1, points=65)
    falling = whole - np.concatenate([[0], np.cumsum(np.sort(parts.ravel())[::-1])])
    np.testing.assert_allclose(curve.probabilities[0], falling, atol=1e-3)
    np.testing.assert_allclose(curve.areas[0], np.trapezoid(falling, np.linspace(0, 1, 65)), atol=1e-3)
    worse = deletion_curve(network, images, -parts[None], 1, points=65)
    assert worse.areas[0] > curve.areas[0]
    assert (
        insertion_curve(network, images, parts[None], 1).areas[0]
        > insertion_curve(network, images, -parts[None], 1).areas[0]
    )


def test_shuffled_weights_change_a_sane_map_and_come_back():
    network, images = made((12, 16, 3))
    kept = network.table.copy()
    sanity = randomization_check(saliency, network, images)
    assert sanity.layers == ["copy"] and np.abs(sanity.similarity).max() < 0.5
    np.testing.assert_array_equal(network.table, kept)

    def blind(network, images, target=None):
        return saliency(network, images, target).__class__(images[..., 0], np.zeros(2, np.int64))

    assert randomization_check(blind, network, images).similarity.min() == pytest.approx(1)


def test_resizing_is_that_of_tensorflow_and_blurring_keeps_the_sum():
    scipy = pytest.importorskip("scipy.ndimage")
    maps = np.random.default_rng(0).random((2, 7, 9)).astype(np.float32)
    tf = pytest.importorskip("tensorflow")
    expected = tf.image.resize(maps[..., None], (20, 31)).numpy()[..., 0]
    np.testing.assert_allclose(resize(maps, (20, 31)), expected, atol=1e-6)
    np.testing.assert_allclose(
        blur(maps[..., None], 2.0)[..., 0],
        np.stack([scipy.gaussian_filter(m, 2.0, mode="reflect") for m in maps]),
        atol=1e-5,
    )
    np.testing.assert_allclose(blurring(11, 40.0).sum(axis=1), 1, rtol=1e-5)
    matrices = [resizing(7, 20), resizing(9, 31)]
    other = np.random.default_rng(1).random((2, 20, 31)).astype(np.float32)
    forward = (apply(matrices, maps) * other).sum()
    np.testing.assert_allclose(forward, (maps * apply([m.T for m in matrices], other)).sum(), rtol=1e-4)


def test_rank_correlation_is_scipys_and_shares_add_up():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 9, (2, 6, 7)).astype(np.float32)
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel())[0])
    assert np.isnan(rank_correlation(one, np.zeros_like(one)))
    maps, mask = rng.normal(size=(2, 6, 7)).astype(np.float32), rng.random((6, 7)) > 0.5
    np.testing.assert_allclose(share_inside(maps, mask) + share_inside(maps, ~mask), 1)
    assert np.isnan(share_inside(np.zeros((1, 6, 7), np.float32), mask)[0])


def test_deconvolution_keeps_one_activation():
    network, images = made((12, 16, 3))
    found = deconvolution(network, images, filters=1)
    kept = found.about["reconstruction"]
    assert (kept != 0).reshape(2, -1).sum(axis=1).tolist() == [1, 1]
    np.testing.assert_array_equal(kept.reshape(2, -1).max(axis=1), images[..., 1].reshape(2, -1).max(axis=1))
    at = deconvolution(network, images, filters=2, place=(3, 4)).about["reconstruction"]
    np.testing.assert_array_equal(at[:, 3, 4, 2], images[:, 3, 4, 2])
    whole = deconvolution(network, images, filters=2, keep="map").about["reconstruction"]
    np.testing.assert_array_equal(whole[..., 2], images[..., 2])


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("lime",)])
@pytest.mark.parametrize("shape", [(20, 24, 1), (8, 10, 12, 1)])
def test_every_method_gives_a_map_of_the_images_size(name, shape):
    network, images = made(shape)
    small = {"rise": {"masks": 10}, "meaningful_perturbation": {"iterations": 2, "cells": 5}}
    target = {} if name in WITHOUT_CLASS else {"target": [1, 2]}
    found = METHODS[name](network, images, **target, **small.get(name, {}))
    assert found.maps.shape == images.shape[:-1] and found.maps.dtype == np.float32
    assert np.isfinite(found.maps).all()
    assert found.classes.tolist() == ([] if name in WITHOUT_CLASS else [1, 2])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda n, x: saliency(n, x[0]),
            r"Expected images of shape \(batch, 12, 16, 3\). Received: \(12, 16, 3\)",
        ),
        (lambda n, x: saliency(n, x, 3), "Expected a class from 0 to 2. Received: 3"),
        (lambda n, x: grad_cam(n, x, layer="conv"), 'No layer "conv" in this model. It has: copy'),
        (
            lambda n, x: occlusion(n, x, patch=20),
            r"Expected patch to be from 1 to the image's size \(12, 16\)",
        ),
        (lambda n, x: occlusion(n, x, fill="grey"), 'a number, "mean" or "blur". Received: "grey"'),
        (lambda n, x: lime(n, x, samples=1), "samples to be at least 2"),
        (lambda n, x: lime(n, x, segments=np.zeros((3, 3))), "Expected segments of shape"),
        (lambda n, x: rise(n, x, keep=0), "0 < keep <= 1"),
        (lambda n, x: integrated_gradients(n, x, steps=1), "steps to be at least 2"),
        (lambda n, x: meaningful_perturbation(n, x, form="both"), '"deletion" or "preservation"'),
        (lambda n, x: maximize_class(n, 7), r"classes from 0 to 2. Received: \[7\]"),
        (lambda n, x: maximize_filter(n, filters=9), 'Layer "copy" has the filters 0 to 2'),
        (lambda n, x: deconvolution(n, x, filters=9), 'Layer "copy" has the filters 0 to 2'),
        (lambda n, x: deconvolution(n, x, place=(1,)), "Received: place=\\(1,\\)"),
        (lambda n, x: exciting_images(n, x, 9), 'Layer "copy" has the filters 0 to 2'),
        (lambda n, x: deletion_curve(n, x, x), "Expected maps of shape"),
        (lambda n, x: share_inside(x[..., 0], np.zeros((2, 2))), "Expected a mask of shape"),
        (lambda n, x: method_named("gradcam"), 'No method "gradcam". There are: grad_cam, '),
    ],
)
def test_mistakes_are_told_in_a_line(ask, said):
    network, images = made((12, 16, 3))
    with pytest.raises(ExplainError, match=said) as caught:
        ask(network, images)
    assert "\n" not in str(caught.value)
