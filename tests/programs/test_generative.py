"""Generative models: losses of their own, several networks, several optimizers."""

import keras
import tensorflow as tf
from data import BATCH, IMAGES, SAMPLES
from harness import program
from keras import layers, ops

FLAT = IMAGES.reshape(SAMPLES, -1)


class Sampling(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        mean, log_variance = inputs
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


class VAE(keras.Model):
    def __init__(self):
        super().__init__()
        inputs = keras.Input((4, 4, 1))
        x = layers.Flatten()(layers.Conv2D(2, 3, activation="relu", name="seen")(inputs))
        mean, log_variance = layers.Dense(2, name="mean")(x), layers.Dense(2, name="log_variance")(x)
        z = Sampling()([mean, log_variance])
        self.encoder = keras.Model(inputs, [mean, log_variance, z], name="encoder")
        latent = keras.Input((2,))
        x = layers.Reshape((2, 2, 1))(layers.Dense(4, activation="relu", name="spread")(latent))
        x = layers.Conv2DTranspose(1, 2, strides=2, activation="sigmoid", name="drawn")(x)
        self.decoder = keras.Model(latent, x, name="decoder")
        self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.total_loss_tracker, self.reconstruction_loss_tracker, self.kl_loss_tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_variance, z = self.encoder(data)
            drawn = self.decoder(z)
            reconstruction = ops.mean(ops.sum(keras.losses.binary_crossentropy(data, drawn), axis=(1, 2)))
            kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
            kl = ops.mean(ops.sum(kl, axis=1))
            total = reconstruction + kl
        gradients = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.total_loss_tracker.update_state(total)
        self.reconstruction_loss_tracker.update_state(reconstruction)
        self.kl_loss_tracker.update_state(kl)
        return {
            "loss": self.total_loss_tracker.result(),
            "reconstruction_loss": self.reconstruction_loss_tracker.result(),
            "kl_loss": self.kl_loss_tracker.result(),
        }


@program()
def test_vae_whose_tracker_and_log_have_different_names(callbacks):
    model = VAE()
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.fit(IMAGES, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


def _generator(size=3):
    return keras.Sequential(
        [keras.Input((size,)), layers.Dense(8, activation="tanh"), layers.Dense(16)], name="generator"
    )


def _discriminator():
    return keras.Sequential(
        [keras.Input((16,)), layers.Dense(6, activation="tanh"), layers.Dense(1)], name="discriminator"
    )


class GAN(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = _generator(), _discriminator()
        self.seed_generator = keras.random.SeedGenerator(3)
        self.d_loss_tracker = keras.metrics.Mean(name="d_loss")
        self.g_loss_tracker = keras.metrics.Mean(name="g_loss")

    @property
    def metrics(self):
        return [self.d_loss_tracker, self.g_loss_tracker]

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

    def train_step(self, real):
        count = ops.shape(real)[0]
        latent = keras.random.normal((count, 3), seed=self.seed_generator)
        both = ops.concatenate([self.generator(latent), real], axis=0)
        labels = ops.concatenate([ops.ones((count, 1)), ops.zeros((count, 1))], axis=0)
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(both))
        gradients = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply(gradients, self.discriminator.trainable_weights)
        latent = keras.random.normal((count, 3), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            judged = self.discriminator(self.generator(latent))
            g_loss = self.loss_fn(ops.zeros((count, 1)), judged)
        gradients = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply(gradients, self.generator.trainable_weights)
        self.d_loss_tracker.update_state(d_loss)
        self.g_loss_tracker.update_state(g_loss)
        return {"d_loss": self.d_loss_tracker.result(), "g_loss": self.g_loss_tracker.result()}


@program()
def test_gan_whose_compiled_optimizer_is_never_applied(callbacks):
    # compile() without an optimizer compiles RMSprop: its rate is nobody's.
    model = GAN()
    model.compile(
        d_optimizer=keras.optimizers.Adam(2e-3),
        g_optimizer=keras.optimizers.Adam(1e-3),
        loss_fn=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model.fit(FLAT, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class WGAN(keras.Model):
    """Three updates of the critic for one of the generator; losses are returned as they are."""

    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = _generator(), _discriminator()
        self.seed_generator = keras.random.SeedGenerator(3)

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def gradient_penalty(self, real, fake):
        alpha = keras.random.uniform((ops.shape(real)[0], 1), seed=self.seed_generator)
        between = real + alpha * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(between)
            judged = self.discriminator(between, training=True)
        norm = ops.sqrt(ops.sum(ops.square(tape.gradient(judged, between)), axis=1) + 1e-6)
        return ops.mean((norm - 1.0) ** 2)

    def train_step(self, real):
        count = ops.shape(real)[0]
        for _ in range(3):
            latent = keras.random.normal((count, 3), seed=self.seed_generator)
            with tf.GradientTape() as tape:
                fake = self.generator(latent, training=True)
                d_cost = ops.mean(self.discriminator(fake)) - ops.mean(self.discriminator(real))
                d_loss = d_cost + 10.0 * self.gradient_penalty(real, fake)
            gradients = tape.gradient(d_loss, self.discriminator.trainable_variables)
            self.d_optimizer.apply_gradients(
                zip(gradients, self.discriminator.trainable_variables, strict=True)
            )
        latent = keras.random.normal((count, 3), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            g_loss = -ops.mean(self.discriminator(self.generator(latent, training=True)))
        gradients = tape.gradient(g_loss, self.generator.trainable_variables)
        self.g_optimizer.apply_gradients(zip(gradients, self.generator.trainable_variables, strict=True))
        return {"d_loss": d_loss, "g_loss": g_loss}


@program(missing=["last of several gradients"])
def test_wgan_gp_whose_critic_is_updated_three_times_a_step(callbacks):
    model = WGAN()
    model.compile(keras.optimizers.SGD(2e-3, name="critic"), keras.optimizers.SGD(1e-3, name="artist"))
    model.fit(FLAT, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class Diffusion(keras.Model):
    """Returns a tensor of its own, keeps a moving average, draws from tf.random."""

    def __init__(self):
        super().__init__()
        self.network, self.ema_network = self._network("network"), self._network("ema_network")
        self.ema_network.set_weights(self.network.get_weights())

    def _network(self, name):
        image, time = keras.Input((4, 4, 1)), keras.Input((1,))
        x = layers.Conv2D(4, 3, padding="same", activation="swish")(image)
        x = layers.Add()([x, layers.Reshape((1, 1, 4))(layers.Dense(4)(time))])
        return keras.Model([image, time], layers.Conv2D(1, 3, padding="same")(x), name=name)

    def train_step(self, images):
        count = tf.shape(images)[0]
        t = tf.random.uniform((count, 1), 0.0, 1.0)
        with tf.GradientTape() as tape:
            noise = tf.random.normal(tf.shape(images))
            share = t[:, :, None, None]
            noisy = (1.0 - share) * images + share * noise
            loss = self.loss(noise, self.network([noisy, t], training=True))
        gradients = tape.gradient(loss, self.network.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.network.trainable_weights, strict=True))
        for weight, average in zip(self.network.weights, self.ema_network.weights, strict=True):
            average.assign(0.9 * average + 0.1 * weight)
        return {"loss": loss}


# Keras reports its own `loss` at the epoch's end, which this step never updates.
@program(eager=False, missing=["^scalars/epoch: loss "], untrusted=["scalars/epoch/loss"])
def test_diffusion_that_returns_its_loss_as_it_is(callbacks):
    model = Diffusion()
    model.compile(loss=keras.losses.MeanSquaredError(), optimizer=keras.optimizers.Adam(1e-3))
    model.fit(IMAGES, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


class CycleGAN(keras.Model):
    """Four networks, four optimizers of one class and name, four losses of its own."""

    def __init__(self):
        super().__init__()
        for name in ("gen_g", "gen_f", "disc_x", "disc_y"):
            units = 1 if name.startswith("disc") else 16
            dense = layers.Dense(units, name=f"{name}_dense")
            setattr(self, name, keras.Sequential([keras.Input((16,)), dense], name=name))

    def compile(self, **optimizers):
        super().compile()
        for name, optimizer in optimizers.items():
            setattr(self, f"{name}_optimizer", optimizer)

    def train_step(self, batch):
        x, y = batch
        squared, absolute = keras.losses.MeanSquaredError(), keras.losses.MeanAbsoluteError()
        with tf.GradientTape(persistent=True) as tape:
            fake_y, fake_x = self.gen_g(x, training=True), self.gen_f(y, training=True)
            judged = {"fx": self.disc_x(fake_x), "fy": self.disc_y(fake_y)}
            judged |= {"rx": self.disc_x(x), "ry": self.disc_y(y)}
            g = squared(ops.ones_like(judged["fy"]), judged["fy"]) + absolute(y, self.gen_g(fake_x))
            f = squared(ops.ones_like(judged["fx"]), judged["fx"]) + absolute(x, self.gen_f(fake_y))
            d_x = squared(ops.zeros_like(judged["fx"]), judged["fx"]) + ops.mean(1 - judged["rx"])
            d_y = squared(ops.zeros_like(judged["fy"]), judged["fy"]) + ops.mean(1 - judged["ry"])
        losses = {"gen_g": g, "gen_f": f, "disc_x": d_x, "disc_y": d_y}
        for name, loss in losses.items():
            weights = getattr(self, name).trainable_variables
            gradients = tape.gradient(loss, weights)
            getattr(self, f"{name}_optimizer").apply_gradients(zip(gradients, weights, strict=True))
        return {"G_loss": g, "F_loss": f, "D_X_loss": d_x, "D_Y_loss": d_y}


@program()
def test_cyclegan_with_four_optimizers_of_one_name(callbacks):
    model = CycleGAN()
    rates = {"gen_g": 1e-3, "gen_f": 2e-3, "disc_x": 3e-3, "disc_y": 4e-3}
    model.compile(**{name: keras.optimizers.SGD(rate) for name, rate in rates.items()})
    pairs = tf.data.Dataset.from_tensor_slices((FLAT, FLAT[::-1].copy())).batch(BATCH)
    model.fit(pairs, epochs=2, verbose=0, callbacks=callbacks)


class VectorQuantizer(layers.Layer):
    def build(self, shape):
        self.embeddings = self.add_weight(shape=(2, 5), initializer="random_uniform", name="embeddings")

    def call(self, x):
        distances = ops.sum((x[:, :, None] - self.embeddings[None]) ** 2, axis=1)
        chosen = ops.one_hot(ops.argmin(distances, axis=1), 5)
        quantized = ops.matmul(chosen, ops.transpose(self.embeddings))
        commitment = ops.mean((ops.stop_gradient(quantized) - x) ** 2)
        self.add_loss(0.25 * commitment + ops.mean((quantized - ops.stop_gradient(x)) ** 2))
        return x + ops.stop_gradient(quantized - x)


class VQVAE(keras.Model):
    """Three trackers, two of which are printed under another name; the losses of a layer inside."""

    def __init__(self):
        super().__init__()
        inputs = keras.Input((16,))
        x = VectorQuantizer(name="quantizer")(layers.Dense(2, name="encoder")(inputs))
        self.vqvae = keras.Model(inputs, layers.Dense(16, name="decoder")(x), name="vqvae")
        self.trackers = [keras.metrics.Mean(name=n) for n in ("total_loss", "reconstruction_loss", "vq_loss")]

    @property
    def metrics(self):
        return self.trackers

    def train_step(self, x):
        with tf.GradientTape() as tape:
            reconstruction = ops.mean((x - self.vqvae(x)) ** 2) / 0.08
            total = reconstruction + sum(self.vqvae.losses)
        gradients = tape.gradient(total, self.vqvae.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.vqvae.trainable_variables, strict=True))
        for tracker, value in zip(
            self.trackers, (total, reconstruction, sum(self.vqvae.losses)), strict=True
        ):
            tracker.update_state(value)
        names = ("loss", "reconstruction_loss", "vqvae_loss")
        return {name: tracker.result() for name, tracker in zip(names, self.trackers, strict=True)}


@program()
def test_vq_vae_with_losses_of_a_layer(callbacks):
    model = VQVAE()
    model.compile(optimizer=keras.optimizers.SGD(1e-2))
    model.fit(FLAT, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks)


@program()
def test_autoencoder_that_draws_its_input(callbacks):
    x = inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(4, 3, activation="relu", padding="same")(x)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, activation="relu", padding="same")(x)
    model = keras.Model(inputs, layers.Conv2D(1, 3, activation="sigmoid", padding="same")(x))
    model.compile(optimizer="adam", loss="binary_crossentropy")
    model.fit(
        IMAGES,
        IMAGES,
        epochs=2,
        batch_size=BATCH,
        validation_data=(IMAGES, IMAGES),
        verbose=0,
        callbacks=callbacks,
    )
