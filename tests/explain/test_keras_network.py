"""Any Keras model: what is asked of it is answered as the model itself would."""

import keras
import networks
import numpy as np
import pytest
import tensorflow as tf  # noqa: TID251 - computes by hand what the network is asked for
from keras import layers
from networks import CLASSES, Subclassed, flat_and_nested, images, small

from tensorview_insitu.explain import (
    METHODS,
    ExplainError,
    KerasNetwork,
    activation_maps,
    dead_filters,
    deconvolution,
    exciting_images,
    filter_kernels,
    grad_cam,
    guided_backpropagation,
    maximize_filter,
    occlusion,
    randomization_check,
    saliency,
)
from tensorview_insitu.explain.methods import WITHOUT_CLASS

SMALL = {
    "rise": {"masks": 40},
    "lime": {"samples": 40, "segments": np.add.outer(np.arange(20) // 5 * 4, np.arange(24) // 6)},
    "meaningful_perturbation": {"iterations": 4, "cells": 6},
    "smooth_grad": {"samples": 4},
    "integrated_gradients": {"steps": 7},
}


@pytest.fixture(scope="module")
def pair():
    return flat_and_nested()


@pytest.mark.parametrize("name", METHODS)
def test_a_nested_model_has_the_maps_of_the_same_model_unnested(pair, name):
    flat, nested = map(KerasNetwork, pair)
    batch = images((20, 24, 3))
    settings = SMALL.get(name, {}) | ({} if name in WITHOUT_CLASS else {"target": [0, 1, 2, 0]})
    ours, theirs = METHODS[name](nested, batch, **settings), METHODS[name](flat, batch, **settings)
    np.testing.assert_allclose(ours.maps, theirs.maps, atol=1e-6 * np.abs(theirs.maps).max(), rtol=0)
    assert np.ptp(ours.maps) > 0
    if "layer" in ours.about:
        assert (ours.about["layer"], theirs.about["layer"]) == ("base/mixed", "mixed")
        assert "the last of 5 layers with maps" in ours.about["layer_why"]


def test_layers_are_addressed_by_their_path_at_any_depth(pair):
    network = KerasNetwork(pair[1])
    assert network.layers()["base/stem/conv1"] == (18, 22, 6)
    found = grad_cam(network, images((20, 24, 3)), layer="base/stem/norm", resize=False)
    assert found.maps.shape == (4, 18, 22) and found.about["layer_why"] == "as asked for"


@pytest.mark.parametrize("fused", [True, False])
def test_scores_are_what_goes_into_the_softmax(fused):
    model = small(fused=fused)
    network, batch = KerasNetwork(model), images((20, 24, 3))
    answer = network.predict(batch)
    np.testing.assert_allclose(answer.probabilities, model.predict(batch, verbose=0), atol=1e-6)
    before = keras.Model(model.input, model.get_layer("mean").output).predict(batch, verbose=0)
    kernel, bias = model.get_layer("answer").get_weights()
    np.testing.assert_allclose(answer.scores, before @ kernel + bias, atol=1e-5)
    assert network.score_is == "the score before the softmax"


def test_a_softmax_from_keras_ops_in_a_subclassed_model_is_found_and_a_layer_called_twice_has_two_names():
    keras.utils.set_random_seed(0)
    model = Subclassed()
    batch = images((16, 18, 3))
    model(batch)
    network = KerasNetwork(model, image_shape=(16, 18, 3))
    answer = network.predict(batch)
    grown = np.exp(answer.scores)
    np.testing.assert_allclose(answer.probabilities, grown / grown.sum(axis=1, keepdims=True), atol=1e-6)
    assert list(network.layers()) == ["stem", "block0", "block0@2", "block1", "block1@2", "answer"]
    assert network.default_layer()[0] == "block1@2"
    first = network.activations(batch, "block0")
    np.testing.assert_allclose(first, model.blocks[0](model.stem(batch)), atol=1e-6)
    np.testing.assert_allclose(network.activations(batch, "block0@2"), model.blocks[0](first), atol=1e-5)


def test_a_model_without_a_softmax_says_that_its_scores_are_its_output():
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(3, 3, activation="relu")(image)
    logits = layers.Dense(CLASSES)(layers.Flatten()(x))
    network = KerasNetwork(keras.Model(image, logits))
    answer = network.predict(images((8, 8, 1)))
    np.testing.assert_array_equal(answer.scores, answer.probabilities)
    assert network.score_is == "the model's output as it is; it has no softmax or sigmoid"
    hidden = keras.Model(image, layers.Rescaling(1.0)(layers.Softmax()(logits)))
    network = KerasNetwork(hidden)
    network.predict(images((8, 8, 1)))
    assert "it sums to one, but no softmax was found" in network.score_is


def test_a_single_sigmoid_unit_has_two_classes_that_mirror_each_other():
    model = networks.sequential()
    network, batch = KerasNetwork(model), images((20, 24, 3))
    answer = network.predict(batch)
    assert answer.scores.shape == (4, 2) and network.score_is == "the logit before the sigmoid"
    np.testing.assert_allclose(answer.probabilities[:, 1:], model.predict(batch, verbose=0), atol=1e-6)
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(answer.scores[:, 0], -answer.scores[:, 1])
    gradients = [network.gradients(batch, np.full(4, c))[1] for c in (0, 1)]
    np.testing.assert_allclose(gradients[0], -gradients[1])
    assert grad_cam(network, batch, 0).about["layer"] == "base/conv"


def test_gradients_are_those_of_finite_differences():
    model = small(shape=(9, 10, 1))
    network, batch = KerasNetwork(model), images((9, 10, 1), 2).astype(np.float64)
    classes = np.array([2, 0])
    for of in ("score", "probability"):
        values, gradients = network.gradients(batch.astype(np.float32), classes, of=of)
        for place in ((0, 4, 5, 0), (1, 2, 2, 0), (1, 7, 8, 0)):
            up, down = batch.copy(), batch.copy()
            up[place] += 1e-2
            down[place] -= 1e-2
            moved = [
                (a.scores if of == "score" else a.probabilities)[place[0], classes[place[0]]]
                for a in (network.predict(np.float32(up)), network.predict(np.float32(down)))
            ]
            assert gradients[place] == pytest.approx((moved[0] - moved[1]) / 2e-2, abs=2e-4)
        assert len(values) == 2


def test_volumes_are_explained():
    network, batch = KerasNetwork(networks.volume()), images((8, 10, 12, 1))
    found = grad_cam(network, batch, 1)
    assert found.maps.shape == (4, 8, 10, 12) and found.about["layer"] == "conv2"
    assert deconvolution(network, batch).maps.shape == (4, 8, 10, 12)
    assert occlusion(network, batch[:1], 1, patch=4).maps.shape == (1, 8, 10, 12)


def test_a_segmentation_is_explained_by_a_class_summed_over_a_region():
    model = networks.segmenting()
    batch = images((16, 16, 1))
    region = np.zeros((16, 16))
    region[:4, :4] = 1
    network = KerasNetwork(model, region=region)
    probabilities = model.predict(batch, verbose=0)
    answer = network.predict(batch)
    np.testing.assert_allclose(answer.probabilities, probabilities[:, :4, :4].mean(axis=(1, 2)), atol=1e-6)
    assert network.default_layer()[0] == "middle"
    maps = saliency(network, batch, 1).maps
    # Nothing beyond the receptive field of that corner: 2 up, 2 + 1 down, and their strides.
    assert maps[:, :4, :4].min(axis=0).max() > 0 and np.all(maps[:, 12:, 12:] == 0)
    whole = KerasNetwork(model).predict(batch).probabilities
    np.testing.assert_allclose(whole, probabilities.mean(axis=(1, 2)), atol=1e-6)
    with pytest.raises(ExplainError, match=r"region to be of the output's shape \(16, 16\)"):
        KerasNetwork(model, region=np.ones((3, 3))).predict(batch)


def test_one_of_two_images_of_a_shared_sub_model_is_explained():
    model = networks.siamese()
    one, other = images((20, 24, 1)), images((20, 24, 1), 1, seed=9)
    for number, name in enumerate(("one", "other")):
        network = KerasNetwork(model, image=name, others=[other])
        fed = [one, np.repeat(other, 4, axis=0)]
        expected = model.predict(fed if number == 0 else fed[::-1], verbose=0)
        np.testing.assert_allclose(network.predict(one).probabilities, expected, atol=1e-6)
        layer = "base/conv" if number == 0 else "base/conv@2"
        assert grad_cam(network, one, layer=layer).maps.max() > 0
    by_name = KerasNetwork(model, image="one", others={"other": other})
    fed = [one, np.repeat(other, 4, axis=0)]
    np.testing.assert_allclose(by_name.predict(one).probabilities, model.predict(fed, verbose=0), atol=1e-6)
    with pytest.raises(ExplainError, match="others= to give all but the image, 1. Received: 0"):
        KerasNetwork(model)


def test_one_of_several_outputs_is_explained():
    image = keras.Input((12, 12, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(image))
    two = [layers.Dense(3, activation="softmax", name="kind")(x), layers.Dense(1, name="age")(x)]
    model = keras.Model(image, two)
    batch = images((12, 12, 1))
    assert KerasNetwork(model, output=0).predict(batch).scores.shape == (4, 3)
    assert KerasNetwork(model, output=1).predict(batch).scores.shape == (4, 1)
    named = keras.Model(image, {"kind": two[0], "age": two[1]})
    assert KerasNetwork(named, output="kind").predict(batch).scores.shape == (4, 3)
    with pytest.raises(ExplainError, match="Expected output= to be a number below 2"):
        KerasNetwork(model).predict(batch)
    with pytest.raises(ExplainError, match="Expected output= to be one of kind, age"):
        KerasNetwork(named, output="name").predict(batch)


def test_mixed_precision_gives_the_maps_of_float32_nearly():
    keras.utils.set_random_seed(1)
    plain = small()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = small()
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(plain.get_weights())
    batch = images((20, 24, 3))
    for method in (grad_cam, saliency, guided_backpropagation):
        ours = method(KerasNetwork(mixed), batch, 1).maps
        theirs = method(KerasNetwork(plain), batch, 1).maps
        assert ours.dtype == np.float32
        # A switch or a ReLU may turn over in half precision: not everywhere, but nearly so.
        # Where, the processor decides: one that computes in half precision rounds between the layers too.
        assert np.quantile(np.abs(ours - theirs), 0.95) < 0.002 * theirs.max()
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_each_question_is_traced_once_whatever_the_number_of_images():
    network = KerasNetwork(small(), batch_size=3)
    for count in (1, 4, 7):
        saliency(network, images((20, 24, 3), count))
        occlusion(network, images((20, 24, 3), count), patch=10)
    assert network.traces == 3  # predict, what layers there are, gradients


def test_portions_change_nothing():
    model, batch = small(), images((20, 24, 3), 7)
    np.testing.assert_allclose(
        grad_cam(KerasNetwork(model, batch_size=2), batch).maps,
        grad_cam(KerasNetwork(model, batch_size=64), batch).maps,
        atol=1e-7,
    )


def test_what_the_model_learns_meanwhile_is_seen():
    model, batch = small(), images((20, 24, 3))
    network = KerasNetwork(model)
    before = saliency(network, batch).maps
    model.get_layer("conv1").kernel.assign(2 * model.get_layer("conv1").kernel)
    assert np.abs(saliency(network, batch).maps - before).max() > 0


def hand_deconvnet(model, batch, pool):
    """Zeiler and Fergus by hand: transposed convolutions, switches, ReLUs on the way down."""
    conv1, conv2 = model.get_layer("conv1"), model.get_layer("conv2")
    first = conv1(batch)
    pooled = model.get_layer("pool1")(first)
    second = conv2(pooled)
    answers = np.array(second)
    signal = np.zeros_like(answers)
    for number, one in enumerate(answers):
        place = np.unravel_index(one.argmax(), one.shape)
        signal[(number, *place)] = one[place]
    down = np.maximum(signal, 0)
    strides = [1, *conv2.strides, 1]
    down = tf.nn.conv2d_transpose(down, conv2.kernel, tf.shape(pooled), strides, conv2.padding.upper())
    unpooled = np.zeros(first.shape, np.float32)
    for n, i, j, c in np.ndindex(*pooled.shape):
        window = np.array(first[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c])
        if pool == "max":
            a, b = np.unravel_index(window.argmax(), window.shape)
            unpooled[n, 2 * i + a, 2 * j + b, c] += down[n, i, j, c]
        else:
            unpooled[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c] += down[n, i, j, c] / 4
    down = np.maximum(unpooled, 0)
    return np.array(tf.nn.conv2d_transpose(down, conv1.kernel, batch.shape, [1, 1, 1, 1], "VALID"))


@pytest.mark.parametrize("pool", ["max", "average"])
@pytest.mark.parametrize(("kernel", "strides"), [(3, 1), (2, 1), (4, 2)])
def test_deconvolution_is_what_it_is_by_hand(pool, kernel, strides):
    kind = layers.MaxPooling2D if pool == "max" else layers.AveragePooling2D
    model = small(pool=kind, kernel=kernel, strides=strides)
    batch = images((20, 24, 3))
    found = deconvolution(KerasNetwork(model), batch, "conv2").about["reconstruction"]
    by_hand = hand_deconvnet(model, batch, pool)
    np.testing.assert_allclose(found, by_hand, atol=1e-6 * np.abs(by_hand).max())
    assert np.abs(by_hand).max() > 0


def test_the_rules_differ_from_the_gradient_and_from_each_other(pair):
    batch = images((20, 24, 3))
    for model in pair:
        network = KerasNetwork(model)
        found = [
            network.gradients(batch, np.zeros(4, int), rule=rule)[1]
            for rule in ("gradient", "deconvolution", "guided", "linear")
        ]
        for number, one in enumerate(found):
            for other in found[:number]:
                assert np.abs(one - other).max() > 1e-3 * np.abs(one).max()


@pytest.mark.parametrize("activation", ["tanh", "swish", "gelu", "elu", "leaky_relu", "hard_swish"])
def test_the_rules_refuse_what_they_are_not_defined_for(activation):
    image = keras.Input((12, 12, 1))
    x = layers.Conv2D(4, 3, activation=activation)(image)
    network = KerasNetwork(keras.Model(image, layers.Dense(2)(layers.Flatten()(x))))
    with pytest.raises(ExplainError, match="rule is defined for networks of ReLUs; this one has") as caught:
        guided_backpropagation(network, images((12, 12, 1)))
    assert "Saliency" in str(caught.value) and "\n" not in str(caught.value)
    assert saliency(network, images((12, 12, 1))).maps.max() > 0


def test_filters_are_the_kernels_that_the_layer_has():
    model = small()
    network = KerasNetwork(model)
    kernel = model.get_layer("conv1").get_weights()[0]
    found = filter_kernels(network, "conv1")
    assert found.shape == (6, 3, 3, 3)
    np.testing.assert_array_equal(found[4], kernel[..., 4])
    with pytest.raises(ExplainError, match='Layer "answer" has no kernel with a grid'):
        filter_kernels(network, "answer")
    image = keras.Input((8, 8, 2))
    x = layers.Conv2DTranspose(5, 3, name="up")(
        layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep")(image)
    )
    network = KerasNetwork(keras.Model(image, layers.Dense(2)(layers.Flatten()(x))))
    assert filter_kernels(network, "deep").shape == (4, 3, 3, 1)
    assert filter_kernels(network, "up").shape == (5, 3, 3, 4)


def test_dead_filters_are_those_that_never_answer():
    model = small()
    kernel, bias = model.get_layer("conv2").get_weights()
    bias[[1, 5]] = -1e3
    model.get_layer("conv2").set_weights([kernel, bias])
    found = dead_filters(KerasNetwork(model), images((20, 24, 3), 30))
    assert set(found["conv2"]) >= {1, 5} and len(found["conv1"]) < 6
    maps, layer = activation_maps(KerasNetwork(model), images((20, 24, 3)))
    assert layer == "conv2" and np.all(maps[..., [1, 5]] == 0)
    inner = keras.Model(model.input, model.get_layer("conv2").output)
    np.testing.assert_allclose(maps, inner.predict(images((20, 24, 3)), verbose=0), atol=1e-6)


def test_the_patch_that_a_filter_sees_is_its_receptive_field():
    network = KerasNetwork(small())  # 3 x 3, pooling by 2, 3 x 3 with a border: 8 pixels
    found = exciting_images(network, images((20, 24, 3), 12), 3, "conv2", top=5)
    for place, patch in zip(found.places, found.patches, strict=True):
        for at, (low, high), size in zip(place, patch, (20, 24), strict=True):
            assert (low, high) == (max(0, 2 * (at - 1)), min(size - size % 2, 2 * (at - 1) + 8))


def test_filters_can_be_maximized_and_weights_shuffled():
    model, batch = small(), images((20, 24, 3))
    found = maximize_filter(
        KerasNetwork(model), "conv2", range(8), iterations=30, norm_weight=0.0, total_variation_weight=0.0
    )
    begin, end = found.about["answers"].T
    silent = found.about["silent"]
    assert len(silent) < 6 and np.all(end[silent] == 0)
    awake = np.setdiff1d(range(8), silent)
    assert np.all(end[awake] > begin[awake])
    kept = model.get_weights()
    sanity = randomization_check(grad_cam, KerasNetwork(model), batch)
    assert sanity.layers == ["answer", "conv2", "conv1"] and sanity.similarity.shape == (3, 4)
    assert np.nanmin(np.abs(sanity.similarity)) < 0.9
    for before, after in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("VGG16", 64, "vgg16/block5_conv3"),
        ("MobileNetV2", 64, "/out_relu"),
        ("DenseNet121", 64, "densenet121/relu"),
        ("InceptionV3", 128, "inception_v3/mixed10"),
    ],
)
def test_transfer_learning_models_are_explained(name, size, layer):
    keras.utils.set_random_seed(0)
    base = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(size, size, 3))
    image = keras.Input((size, size, 3))
    model = keras.Model(
        image, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(base(image)))
    )
    network, batch = KerasNetwork(model), images((size, size, 3), 2)
    found = grad_cam(network, batch, 1, resize=False)
    assert found.about["layer"].endswith(layer)
    inner = base.get_layer(found.about["layer"].split("/")[-1])
    both = keras.Model(base.input, [inner.output, base.output])
    with tf.GradientTape() as tape:
        answers, out = both(batch, training=False)
        kernel, bias = model.layers[-1].get_weights()
        score = tf.reduce_mean(out, (1, 2)) @ kernel + bias
    weights = np.array(tape.gradient(score, answers)).mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * np.array(answers)).sum(axis=-1), 0)
    np.testing.assert_allclose(found.maps, expected, atol=1e-5 * expected.max())
    if name in ("VGG16", "MobileNetV2"):
        assert guided_backpropagation(network, batch, 1).maps.max() > 0
