"""Against other people's implementations, where they are right; each skips where it is not installed.

Their known bugs are noted where they would be met: on nested models none of them gives a Grad-CAM, and
xplique's DeconvNet and GuidedBackprop return the plain gradient there, in silence. All are asked about a
flat model that ends in logits: what they call the score is whatever the model answers.
"""

import keras
import numpy as np
import pytest
from keras import layers
from networks import CLASSES, images

from tensorview_insitu.explain import (
    KerasNetwork,
    deconvolution,
    grad_cam,
    grad_cam_plus_plus,
    guided_backpropagation,
    integrated_gradients,
    lime,
    occlusion,
    rise,
    saliency,
    tutorial_grad_cam,
)
from tensorview_insitu.explain.lime import ridge_regression, sample_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]
SIZE = (24, 24, 3)
TARGETS = [0, 2, 1]


@pytest.fixture(scope="module")
def flat():
    """A flat model that answers logits, and images."""
    keras.utils.set_random_seed(11)
    image = keras.Input(SIZE)
    x = layers.Conv2D(6, 3, activation="relu", name="conv1", bias_initializer="random_normal")(image)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="conv2", bias_initializer="random_normal")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES, name="logits")(x)), images(SIZE, 3)


def alike(ours, theirs, tolerance=1e-5):
    """Equal, relative to the largest value."""
    theirs = np.asarray(theirs)
    np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs).max(), rtol=0)
    assert np.ptp(theirs) > 0


def test_grad_cam_and_saliency_are_those_of_tf_keras_vis(flat):
    pytest.importorskip("tf_keras_vis")
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.scores import CategoricalScore

    model, batch = flat
    score = CategoricalScore(TARGETS)
    theirs = Gradcam(model, clone=False)(
        score, batch, penultimate_layer="conv2", expand_cam=False, normalize_cam=False
    )
    alike(grad_cam(KerasNetwork(model), batch, TARGETS, resize=False).maps, theirs)
    alike(
        saliency(KerasNetwork(model), batch, TARGETS).maps,
        Saliency(model, clone=False)(score, batch, normalize_map=False),
    )


def test_grad_cam_plus_plus_is_that_of_tf_keras_vis_but_for_its_scale(flat):
    pytest.importorskip("tf_keras_vis")
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.utils.scores import CategoricalScore

    model, batch = flat
    theirs = GradcamPlusPlus(model, clone=False)(
        CategoricalScore(TARGETS), batch, penultimate_layer="conv2", expand_cam=False, normalize_cam=False
    )
    ours = grad_cam_plus_plus(
        KerasNetwork(model), batch, TARGETS, layer="conv2", resize=False, normalized=True
    ).maps
    for one, other in zip(ours, np.asarray(theirs), strict=True):
        alike(one / one.max(), other / other.max(), 1e-4)


def test_the_tutorials_variant_is_that_of_tf_explain(flat):
    pytest.importorskip("tf_explain")
    from tf_explain.core.grad_cam import GradCAM

    model, batch = flat
    for number, target in enumerate(TARGETS):  # it takes one class for all images
        answers, gradients = GradCAM.get_gradients_and_filters(
            model, batch[number : number + 1], "conv2", target, True
        )
        theirs = GradCAM.generate_ponderated_output(answers, gradients)
        ours = tutorial_grad_cam(KerasNetwork(model), batch[number : number + 1], target, layer="conv2")
        alike(ours.about["unscaled"], np.asarray(theirs))


def test_gradients_of_every_kind_are_those_of_xplique(flat):
    pytest.importorskip("xplique")
    from xplique.attributions import DeconvNet, GuidedBackprop, IntegratedGradients, Saliency

    model, batch = flat
    wanted = np.eye(CLASSES, dtype=np.float32)[TARGETS]
    network = KerasNetwork(model)
    alike(saliency(network, batch, TARGETS).maps, np.asarray(Saliency(model)(batch, wanted))[..., 0])
    theirs = np.asarray(IntegratedGradients(model, steps=50, reducer=None)(batch, wanted))
    alike(integrated_gradients(network, batch, TARGETS, steps=50).maps, theirs.sum(axis=-1), 1e-4)
    for rule, method in (("deconvolution", DeconvNet), ("guided", GuidedBackprop)):
        _, ours = network.gradients(batch, np.array(TARGETS), rule=rule)
        alike(ours, np.asarray(method(model, reducer=None)(batch, wanted)))
    alike(
        guided_backpropagation(network, batch, TARGETS).maps,
        np.abs(np.asarray(GuidedBackprop(model, reducer=None)(batch, wanted))).max(axis=-1),
    )


def test_deconvolution_from_a_layer_is_that_of_xplique_from_that_layer(flat):
    pytest.importorskip("xplique")
    from xplique.attributions import DeconvNet

    model, batch = flat
    found = deconvolution(KerasNetwork(model), batch, "conv2", filters=3, place=(4, 5))
    cut = keras.Model(model.input, model.get_layer("conv2").output[:, 4, 5, :])
    wanted = np.eye(8, dtype=np.float32)[[3] * 3]
    theirs = np.asarray(DeconvNet(cut, output_layer=-1, reducer=None)(batch, wanted))
    kept = KerasNetwork(model).activations(batch, "conv2")[:, 4, 5, 3]
    # Theirs starts from 1, ours from the activation that is kept.
    alike(found.about["reconstruction"], theirs * kept[:, None, None, None])


def test_occlusion_is_that_of_xplique_which_sums_where_ours_is_the_mean(flat):
    pytest.importorskip("xplique")
    from xplique.attributions import Occlusion

    model, batch = flat
    wanted = np.eye(CLASSES, dtype=np.float32)[TARGETS]
    for patch, stride in ((4, 4), (6, 3)):
        theirs = np.asarray(
            Occlusion(model, patch_size=patch, patch_stride=stride, occlusion_value=0.0)(batch, wanted)
        )[..., 0]
        ours = occlusion(
            KerasNetwork(model), batch, TARGETS, patch=patch, stride=stride, fill=0.0, of="score"
        )
        hidden = np.zeros(24)
        for start in range(0, 24 - patch + 1, stride):
            hidden[start : start + patch] += 1
        alike(ours.maps * np.outer(hidden, hidden), theirs, 1e-4)


def test_integrated_gradients_and_grad_cam_are_those_of_saliency(flat):
    theirs = pytest.importorskip("saliency.core")
    import tensorflow as tf  # noqa: TID251 - this library wants a call function

    model, batch = flat
    conv = keras.Model(model.input, [model.get_layer("conv2").output, model.output])

    def call(x, call_model_args=None, expected_keys=None):
        x = tf.convert_to_tensor(np.asarray(x, np.float32))
        with tf.GradientTape() as tape:
            tape.watch(x)
            answers, out = conv(x)
            score = out[:, call_model_args]
        if "INPUT_OUTPUT_GRADIENTS" in expected_keys:
            return {"INPUT_OUTPUT_GRADIENTS": tape.gradient(score, x).numpy()}
        return {
            "CONVOLUTION_LAYER_VALUES": answers.numpy(),
            "CONVOLUTION_OUTPUT_GRADIENTS": tape.gradient(score, answers).numpy(),
        }

    network = KerasNetwork(model)
    cam = theirs.GradCam().GetMask(batch[1], call, 2, should_resize=False)
    alike(grad_cam(network, batch[1:2], 2, layer="conv2", resize=False).maps[0], cam[..., 0])
    mask = theirs.IntegratedGradients().GetMask(
        batch[1], call, 2, x_steps=400, x_baseline=np.zeros(SIZE), batch_size=50
    )
    # Theirs sums rectangles, the first order: with many steps they meet.
    alike(integrated_gradients(network, batch[1:2], 2, steps=400).maps[0], mask.sum(axis=-1), 5e-3)


def test_the_regression_is_that_of_lime_on_its_own_samples(flat):
    pytest.importorskip("lime")
    from lime.lime_image import LimeImageExplainer

    model, batch = flat
    softmax = keras.Model(model.input, layers.Softmax()(model.output))
    segments = np.add.outer(np.arange(24) // 6 * 4, np.arange(24) // 6)
    explainer = LimeImageExplainer(random_state=0)
    kept = {}
    base = explainer.base.explain_instance_with_data
    explainer.base.explain_instance_with_data = lambda *a, **k: kept.update(a=a) or base(*a, **k)
    explained = explainer.explain_instance(
        batch[0].astype(np.double),
        lambda x: softmax.predict(x.astype(np.float32), verbose=0),
        labels=(1,),
        top_labels=None,
        num_features=100,
        num_samples=200,
        segmentation_fn=lambda _: segments,
    )
    shown, answers, distances = kept["a"][:3]
    # The distances that lime computes by scikit-learn are those of our closed form.
    np.testing.assert_allclose(
        sample_weights(shown.astype(bool), 0.25), explainer.base.kernel_fn(distances), atol=1e-6
    )
    ours, _ = ridge_regression(
        shown.astype(float), answers[:, 1], sample_weights(shown.astype(bool), 0.25), 1.0
    )
    theirs = dict(explained.local_exp[1])
    np.testing.assert_allclose(ours, [theirs[i] for i in range(16)], atol=1e-6)
    # With samples of its own, the weights agree as far as chance lets them.
    own = lime(KerasNetwork(softmax), batch[:1], 1, segments=segments, samples=2000).about["weights"][0]
    assert np.corrcoef(own, ours)[0, 1] > 0.95


def test_rise_ranks_as_xplique_does(flat):
    pytest.importorskip("xplique")
    from xplique.attributions import Rise

    model, batch = flat
    sharper = keras.Model(model.input, layers.Softmax()(30 * model.output))
    theirs = np.asarray(
        Rise(sharper, nb_samples=4000, grid_size=7)(batch[:1], np.eye(CLASSES, dtype=np.float32)[[1]])
    )
    ours = rise(KerasNetwork(sharper), batch[:1], 1, masks=4000).maps[0]
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.8
