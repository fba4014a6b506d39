// The arithmetic of the page "Try it": a network, its gradients, and the ascent, as the engine does
// them (oiplib/engine). Plain typed arrays; images are height x width x channels, channels last.
"use strict";
window.OipNetwork = (() => {
  // As in oiplib/engine/ascent.py: prevents 0/0.
  const TINY = 1e-20;

  function bytes(text) {
    const binary = atob(text), out = new Uint8Array(binary.length);
    for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
    return out;
  }

  const floats = (text) => new Float32Array(bytes(text).buffer);
  const size = (shape) => shape.reduce((product, side) => product * side, 1);

  // --- operations: forward keeps what backward needs; backward gives the input's gradient ---

  // A convolution with stride 1. `from` and `count` choose some of its maps.
  function convolution(given, inShape, from = 0, count = given.sides[3]) {
    const [kh, kw, ci, all] = given.sides, [h, w] = inShape;
    const [oh, ow] = given.shape, co = count;
    const top = given.same ? (kh - 1) >> 1 : 0, left = given.same ? (kw - 1) >> 1 : 0;
    const whole = floats(given.kernel), biases = floats(given.bias).slice(from, from + co);
    // One product after the other runs along memory: forward over the maps, backward over channels.
    const kernel = new Float32Array(kh * kw * ci * co), turned = new Float32Array(kernel.length);
    for (let k = 0; k < kh * kw; k++) {
      for (let c = 0; c < ci; c++) {
        for (let o = 0; o < co; o++) {
          const value = whole[(k * ci + c) * all + from + o];
          kernel[(k * ci + c) * co + o] = value;
          turned[(k * co + o) * ci + c] = value;
        }
      }
    }
    const out = new Float32Array(oh * ow * co), gradient = new Float64Array(h * w * ci);
    const sums = new Float64Array(co);

    function forward(input) {
      for (let y = 0, at = 0; y < oh; y++) {
        for (let x = 0; x < ow; x++, at += co) {
          for (let o = 0; o < co; o++) sums[o] = 0;
          for (let i = 0; i < kh; i++) {
            const row = y + i - top;
            if (row < 0 || row >= h) continue;
            for (let j = 0; j < kw; j++) {
              const column = x + j - left;
              if (column < 0 || column >= w) continue;
              const pixel = (row * w + column) * ci;
              let weight = (i * kw + j) * ci * co;
              for (let c = 0; c < ci; c++, weight += co) {
                const value = input[pixel + c];
                if (value === 0) continue;
                for (let o = 0; o < co; o++) sums[o] += value * kernel[weight + o];
              }
            }
          }
          for (let o = 0; o < co; o++) out[at + o] = sums[o] + biases[o];
        }
      }
      return out;
    }

    function backward(upper) {
      gradient.fill(0);
      for (let y = 0, at = 0; y < oh; y++) {
        for (let x = 0; x < ow; x++, at += co) {
          for (let o = 0; o < co; o++) {
            const value = upper[at + o];
            if (value === 0) continue;
            for (let i = 0; i < kh; i++) {
              const row = y + i - top;
              if (row < 0 || row >= h) continue;
              for (let j = 0; j < kw; j++) {
                const column = x + j - left;
                if (column < 0 || column >= w) continue;
                const pixel = (row * w + column) * ci, weight = ((i * kw + j) * co + o) * ci;
                for (let c = 0; c < ci; c++) gradient[pixel + c] += value * turned[weight + c];
              }
            }
          }
        }
      }
      return gradient;
    }
    return { forward, backward, shape: [oh, ow, co] };
  }

  function dense(given, inShape, from = 0, count = given.sides[1]) {
    const [n, all] = given.sides;
    const kernel = floats(given.kernel), biases = floats(given.bias);
    const out = new Float32Array(count), sums = new Float64Array(count), gradient = new Float64Array(n);

    function forward(input) {
      sums.fill(0);
      for (let i = 0; i < n; i++) {
        const value = input[i], weight = i * all + from;
        if (value === 0) continue;
        for (let o = 0; o < count; o++) sums[o] += value * kernel[weight + o];
      }
      for (let o = 0; o < count; o++) out[o] = sums[o] + biases[from + o];
      return out;
    }

    function backward(upper) {
      for (let i = 0; i < n; i++) {
        let sum = 0;
        for (let o = 0; o < count; o++) sum += upper[o] * kernel[i * all + from + o];
        gradient[i] = sum;
      }
      return gradient;
    }
    return { forward, backward, shape: [count] };
  }

  function relu(shape) {
    const out = new Float32Array(size(shape)), gradient = new Float64Array(out.length);
    return {
      shape,
      forward(input) {
        for (let i = 0; i < out.length; i++) out[i] = input[i] > 0 ? input[i] : 0;
        return out;
      },
      backward(upper) {
        for (let i = 0; i < out.length; i++) gradient[i] = out[i] > 0 ? upper[i] : 0;
        return gradient;
      },
    };
  }

  // Of equals the first wins, as in the engine.
  function max(given, inShape) {
    const [, w, channels] = inShape, [oh, ow] = given.shape, [ph, pw] = given.size;
    const out = new Float32Array(oh * ow * channels), winners = new Int32Array(out.length);
    const gradient = new Float64Array(size(inShape));
    return {
      shape: given.shape,
      forward(input) {
        for (let y = 0, at = 0; y < oh; y++) {
          for (let x = 0; x < ow; x++) {
            for (let c = 0; c < channels; c++, at++) {
              let best = -Infinity, winner = 0;
              for (let i = 0; i < ph; i++) {
                for (let j = 0; j < pw; j++) {
                  const place = ((y * ph + i) * w + x * pw + j) * channels + c;
                  if (input[place] > best) best = input[winner = place];
                }
              }
              out[at] = best;
              winners[at] = winner;
            }
          }
        }
        return out;
      },
      backward(upper) {
        gradient.fill(0);
        for (let at = 0; at < out.length; at++) gradient[winners[at]] = upper[at];
        return gradient;
      },
    };
  }

  function average(given, inShape) {
    const [, w, channels] = inShape, [oh, ow] = given.shape, [ph, pw] = given.size;
    const out = new Float32Array(oh * ow * channels), gradient = new Float64Array(size(inShape));
    const each = (visit) => {
      for (let y = 0, at = 0; y < oh; y++) {
        for (let x = 0; x < ow; x++) {
          for (let c = 0; c < channels; c++, at++) {
            for (let i = 0; i < ph; i++) {
              for (let j = 0; j < pw; j++) visit(at, ((y * ph + i) * w + x * pw + j) * channels + c);
            }
          }
        }
      }
    };
    return {
      shape: given.shape,
      forward(input) {
        out.fill(0);
        each((at, place) => { out[at] += input[place] / (ph * pw); });
        return out;
      },
      backward(upper) {
        gradient.fill(0);
        each((at, place) => { gradient[place] = upper[at] / (ph * pw); });
        return gradient;
      },
    };
  }

  // Over the last axis. Nothing is ever climbed through it, so it has no way back.
  function softmax(shape) {
    const n = shape[shape.length - 1];
    return {
      shape,
      forward(input) {
        const out = new Float32Array(input.length);
        for (let first = 0; first < input.length; first += n) {
          let largest = -Infinity, sum = 0;
          for (let i = 0; i < n; i++) largest = Math.max(largest, input[first + i]);
          for (let i = 0; i < n; i++) sum += Math.exp(input[first + i] - largest);
          for (let i = 0; i < n; i++) out[first + i] = Math.exp(input[first + i] - largest) / sum;
        }
        return out;
      },
    };
  }

  const KINDS = { convolution, dense, max, average, relu: (given, shape) => relu(shape), softmax: (given, shape) => softmax(shape) };

  // --- images ---

  // Mean 0 and standard deviation 1, as TensorFlow's per_image_standardization.
  function standardize(image) {
    const n = image.length;
    let mean = 0, squares = 0;
    for (let i = 0; i < n; i++) mean += image[i] / n;
    for (let i = 0; i < n; i++) squares += (image[i] - mean) ** 2;
    const deviation = Math.max(Math.sqrt(squares / n), 1 / Math.sqrt(n));
    return Float32Array.from(image, (value) => (value - mean) / deviation);
  }

  // What a coarse grid looks like as an image: down . grid . across^T, as oiplib resizes it.
  function resized(resizers, cells, [height, width]) {
    const [rows, columns] = resizers.sides, out = new Float64Array(height * width);
    const down = floats(resizers.down), across = floats(resizers.across);
    for (let y = 0; y < height; y++) {
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          const value = down[y * rows + r] * cells[r * columns + c];
          for (let x = 0; x < width; x++) out[y * width + x] += value * across[x * columns + c];
        }
      }
    }
    return out;
  }

  // --- priors ---

  // A gradient filtered by 1/f^p, as in oiplib/engine/priors.py. An image is small, so sums along
  // rows and columns do; nothing faster is needed.
  function smoother(p, [height, width, channels]) {
    const tables = (n) => ({
      cos: Float64Array.from({ length: n }, (_, i) => Math.cos((2 * Math.PI * i) / n)),
      sin: Float64Array.from({ length: n }, (_, i) => Math.sin((2 * Math.PI * i) / n)),
    });
    const down = tables(height), across = tables(width), n = height * width;
    const frequency = (i, of) => Math.min(i, of - i) / of;
    const filter = new Float64Array(n);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const f = Math.hypot(frequency(y, height), frequency(x, width));
        filter[y * width + x] = Math.max(f, 1 / Math.max(height, width)) ** -p;
      }
    }
    // A Fourier transform along rows (step 1) or columns (step width), in place; sign -1 or 1.
    const oneReal = new Float64Array(Math.max(height, width)), oneImaginary = oneReal.slice();
    function transform(real, imaginary, lines, length, stride, step, { cos, sin }, sign) {
      for (let line = 0; line < lines; line++) {
        const first = line * stride;
        for (let k = 0; k < length; k++) {
          let a = 0, b = 0;
          for (let i = 0, turn = 0; i < length; i++) {
            const re = real[first + i * step], im = imaginary[first + i * step];
            a += re * cos[turn] - sign * im * sin[turn];
            b += im * cos[turn] + sign * re * sin[turn];
            turn += k;
            if (turn >= length) turn -= length;
          }
          oneReal[k] = a;
          oneImaginary[k] = b;
        }
        for (let k = 0; k < length; k++) {
          real[first + k * step] = oneReal[k];
          imaginary[first + k * step] = oneImaginary[k];
        }
      }
    }
    const both = (real, imaginary, sign) => {
      transform(real, imaginary, height, width, width, 1, across, sign);
      transform(real, imaginary, width, height, 1, width, down, sign);
    };
    const real = new Float64Array(n), imaginary = new Float64Array(n);
    return (gradient) => {
      const out = new Float64Array(gradient.length);
      for (let c = 0; c < channels; c++) {
        imaginary.fill(0);
        for (let i = 0; i < n; i++) real[i] = gradient[i * channels + c];
        both(real, imaginary, -1);
        for (let i = 0; i < n; i++) {
          real[i] *= filter[i] / n;
          imaginary[i] *= filter[i] / n;
        }
        both(real, imaginary, 1);
        for (let i = 0; i < n; i++) out[i * channels + c] = real[i];
      }
      return out;
    };
  }

  // An image moved down and to the right by whole pixels; what leaves it comes in on the other side.
  function rolled(image, [rows, columns], [height, width, channels]) {
    if (!rows && !columns) return image;
    const out = new image.constructor(image.length);
    for (let y = 0; y < height; y++) {
      const from = (((y - rows) % height) + height) % height;
      for (let x = 0; x < width; x++) {
        const place = (from * width + ((((x - columns) % width) + width) % width)) * channels;
        for (let c = 0; c < channels; c++) out[(y * width + x) * channels + c] = image[place + c];
      }
    }
    return out;
  }

  // By how many pixels jitter moves the image at a step: from the start's number and the step alone
  // (SplitMix64), so that the engine's moves are made again.
  function moves(jitter, seed, step) {
    const draw = (counter) => {
      const low = (value) => BigInt.asUintN(64, value);
      let bits = low(BigInt(seed) + BigInt(counter + 1) * 0x9e3779b97f4a7c15n);
      bits = low((bits ^ (bits >> 30n)) * 0xbf58476d1ce4e5b9n);
      bits = low((bits ^ (bits >> 27n)) * 0x94d049bb133111ebn);
      bits ^= bits >> 31n;
      return Number(bits >> 11n) * 2 ** -53;
    };
    return [0, 1].map((axis) => Math.floor(draw(4 * step + axis) * (2 * jitter + 1)) - jitter);
  }

  // --- the network ---

  function chain(operations, shape, last) {
    const made = [];
    for (const given of operations) {
      const is_last = given === operations[operations.length - 1];
      const next = is_last && last ? last(given, shape) : KINDS[given.kind](given, shape);
      made.push(next);
      shape = next.shape;
    }
    return made;
  }

  class Network {
    constructor(data) {
      this.data = data;
      this.shape = data.image;
      this.size = size(data.image);
      this.all = chain(data.operations, data.image);
      this.n_maps = data.maps;
      this.climbers = new Map();
      this.filters = new Map();
      const channels = data.image[2], limits = data.limits;
      if (limits) {
        const of = (values, c) => values[values.length > 1 ? c : 0];
        this.low = Array.from({ length: channels }, (_, c) => of(limits[0], c));
        this.high = Array.from({ length: channels }, (_, c) => of(limits[1], c));
      }
    }

    // Pixels in [0, 1] as the network takes them.
    taken(pixels) {
      if (!this.low) return standardize(Float32Array.from(pixels, (value) => value * 255));
      const channels = this.shape[2];
      return Float32Array.from(pixels, (value, i) =>
        this.low[i % channels] + value * (this.high[i % channels] - this.low[i % channels]));
    }

    // A standardized image within the network's limits: two deviations reach them.
    fromStandard(image) {
      if (!this.low) return image;
      const channels = this.shape[2];
      return this.project(Float32Array.from(image, (value, i) => {
        const c = i % channels;
        return (this.low[c] + this.high[c]) / 2 + (value * (this.high[c] - this.low[c])) / 4;
      }));
    }

    // The nearest image that the network takes.
    project(image) {
      if (!this.low) return standardize(image);
      const channels = this.shape[2];
      return Float32Array.from(image, (value, i) =>
        Math.min(Math.max(value, this.low[i % channels]), this.high[i % channels]));
    }

    // What the whole network says, and the studied layer's maps.
    see(image) {
      let values = image, maps = null;
      const { after } = this.data;
      if (after === 0) maps = image;
      this.all.forEach((operation, k) => {
        values = operation.forward(values);
        if (k + 1 === after) maps = values.slice();
      });
      const n = this.n_maps, positions = maps.length / n, responses = new Float64Array(n);
      for (let i = 0; i < maps.length; i++) responses[i % n] += maps[i] / positions;
      return { says: values.slice(), maps, responses };
    }

    // Only what one map needs: its own part of the last product.
    climber(map) {
      if (!this.climbers.has(map)) {
        const { operations, before, after } = this.data;
        const until = operations.slice(0, before), last = until[until.length - 1];
        const is_own = last && ["convolution", "dense"].includes(last.kind);
        const pick = is_own ? (given, shape) => KINDS[given.kind](given, shape, map, 1) : null;
        const made = chain(until, this.shape, pick);
        this.climbers.clear(); // one at a time: a network's buffers are large
        this.climbers.set(map, { made, n: is_own ? 1 : this.n_maps, at: is_own ? 0 : map, is_relu: after > before && operations[before].kind === "relu" });
      }
      return this.climbers.get(map);
    }

    // The response of a map to an image.
    loss(image, map) {
      const climber = this.climber(map), { made, n, at, is_relu } = climber;
      if (climber.image === image) return climber.loss;
      let before = image, loss = 0;
      for (const operation of made) before = operation.forward(before);
      for (let i = at; i < before.length; i += n) {
        if (!is_relu || before[i] > 0) loss += before[i];
      }
      loss /= before.length / n;
      return Object.assign(climber, { image, before, loss }).loss;
    }

    // The gradient of an objective of a map with respect to the image.
    gradient(image, map, objective = "response") {
      this.loss(image, map);
      const { made, n, at, is_relu, before } = this.climber(map);
      const upper = new Float64Array(before.length), share = n / before.length;
      if (objective === "peak pre-activation") {
        let peak = at;
        for (let i = at; i < before.length; i += n) if (before[i] > before[peak]) peak = i;
        upper[peak] = 1;
      } else {
        const passes_all = !is_relu || objective === "pre-activation";
        for (let i = at; i < before.length; i += n) if (passes_all || before[i] > 0) upper[i] = share;
      }
      let gradient = upper;
      for (let k = made.length - 1; k >= 0; k--) gradient = made[k].backward(gradient);
      return gradient;
    }

    filter(p) {
      if (!this.filters.has(p)) this.filters.set(p, smoother(p, this.shape));
      return this.filters.get(p);
    }

    // One step of article IX's rule; null where there is no gradient.
    stepped(image, gradient, epsilon, smooth) {
      const direction = smooth ? this.filter(smooth)(gradient) : gradient;
      let largest = 0, squares = 0;
      for (let i = 0; i < direction.length; i++) largest = Math.max(largest, Math.abs(direction[i]));
      if (!(largest > 0)) return null;
      for (let i = 0; i < direction.length; i++) squares += (direction[i] / (largest + TINY)) ** 2;
      const rms = Math.sqrt(squares / direction.length) + TINY, channels = this.shape[2];
      const out = new Float64Array(direction.length);
      for (let i = 0; i < out.length; i++) {
        const unit = this.low ? (this.high[i % channels] - this.low[i % channels]) / 4 : 1;
        out[i] = image[i] + (epsilon * unit * direction[i]) / (largest + TINY) / rms;
      }
      return this.project(out);
    }
  }

  // An ascent from an image towards a map.
  //   stages: [{epochs, epsilon, cosine, objective, smooth, jitter}], as those of a stored OIP
  //   rule: () => {epsilon, smooth, jitter, revive}, asked before each step, where there are none
  class Ascent {
    constructor(network, image, map, { stages = null, rule = null, seed = "0" }) {
      Object.assign(this, { network, image, map, rule, seed, ended: null });
      this.start = image;
      this.plan = stages && stages.flatMap((stage) => Array.from({ length: stage.epochs - 1 }, (_, k) => ({
        ...stage,
        epsilon: stage.cosine ? (stage.epsilon * (1 + Math.cos((Math.PI * k) / (stage.epochs - 1)))) / 2 : stage.epsilon,
      })));
      this.trace = [network.loss(image, map)];
    }

    get steps() {
      return this.trace.length - 1;
    }

    // Takes one step, if there is one to take; whether it did.
    step() {
      if (this.ended) return false;
      const { network, image, map, steps } = this;
      const given = this.plan ? this.plan[steps] : this.rule();
      if (!given) return this.end("done");
      const shift = given.jitter && steps ? moves(given.jitter, this.seed, steps) : [0, 0];
      const seen = rolled(image, shift, network.shape);
      let gradient = network.gradient(seen, map, given.objective);
      // A map that doesn't respond is led by what goes into its activation.
      if (given.revive && !gradient.some(Boolean)) gradient = network.gradient(seen, map, "pre-activation");
      const back = rolled(gradient, [-shift[0], -shift[1]], network.shape);
      const next = network.stepped(image, back, given.epsilon, given.smooth);
      if (!next && !given.jitter) return this.end("silent");
      this.image = next || image;
      this.trace.push(network.loss(this.image, map));
      if (this.plan && this.steps >= this.plan.length) this.ended = "done";
      return true;
    }

    end(reason) {
      this.ended = reason;
      return false;
    }
  }

  return { Network, Ascent, bytes, floats, standardize, resized, smoother, rolled, moves };
})();
