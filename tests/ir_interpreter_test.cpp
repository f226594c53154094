// The interpreter against the definitions of docs/numerics.md written a second time: one value at
// a time, 64-bit sums, zero points folded into the bias as the kernels do, no shared arithmetic.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "ir/interpreter.h"
#include "tests/ir_graphs.h"

namespace mattec::ir {
namespace {

// Separate stores keep each operation rounded, whatever the compiler would like.
float times(float a, float b) {
  const volatile float product = a * b;
  return product;
}
float plus(float a, float b) {
  const volatile float sum = a + b;
  return sum;
}
float over(float a, float b) {
  const volatile float quotient = a / b;
  return quotient;
}
float gate(float v) { return std::fmin(std::fmax(plus(v, 3), 0), 6); }
float soft(float x) {
  const float c = std::fmin(std::fmax(x, -4.2F), 4.2F);
  const float s = times(c, c);
  const float numerator = times(c, plus(0.9984906315803528F, times(0.08014089614152908F, s)));
  const float inner = plus(0.40969014167785645F, times(s, 0.006146083120256662F));
  return over(numerator, plus(1, times(s, inner)));
}

int64_t clamp(double value, int64_t low, int64_t high) {
  if (value < static_cast<double>(low)) return low;
  if (value > static_cast<double>(high)) return high;
  return static_cast<int64_t>(value);
}

class Definition {
 public:
  Definition(const Graph& graph, const Interpreter& interpreter)
      : graph_(graph), interpreter_(interpreter) {}

  // The value that operation `op` must have at (y, x, c), given the tensors that it reads.
  int64_t value(const Op& op, int y, int x, int c) const {
    const Grid& out = grid(op.output);
    switch (op.kind) {
      case OpKind::conv:
        return convolution(op, y, x, c);
      case OpKind::avg_pool2: {
        int64_t sum = 0, count = 0;
        for (int i = 0; i < 4; ++i)
          if (exists(op.inputs[0], 2 * y + i / 2, 2 * x + i % 2)) {
            sum += at(op.inputs[0], 2 * y + i / 2, 2 * x + i % 2, c);
            ++count;
          }
        // The mean, halves up: floor(sum / count + 1/2), exact in double.
        return static_cast<int64_t>(
            std::floor(static_cast<double>(sum) / static_cast<double>(count) + 0.5));
      }
      case OpKind::global_avg_pool: {
        const Size size = interpreter_.tensor(op.inputs[0]).size;
        int64_t sum = 0;
        for (int i = 0; i < size.height * size.width; ++i)
          sum += at(op.inputs[0], i / size.width, i % size.width, c) - zero(op.inputs[0], c);
        const double scale = static_cast<double>(grid(op.inputs[0]).scale_of(c)) /
                             (static_cast<double>(out.scale_of(c)) * size.height * size.width);
        return nearest(times(static_cast<float>(sum), static_cast<float>(scale)), out, c);
      }
      case OpKind::upsample2:
        return upsample(op, y, x, c);
      case OpKind::slice:
        return at(op.inputs[0], y, x, op.first_channel + c);
      case OpKind::mul: {
        const bool is_gate = interpreter_.tensor(op.inputs[1]).size == Size{1, 1};
        const int64_t product =
            (at(op.inputs[0], y, x, c) - zero(op.inputs[0], c)) *
            (at(op.inputs[1], is_gate ? 0 : y, is_gate ? 0 : x, c) - zero(op.inputs[1], c));
        const double scale = static_cast<double>(grid(op.inputs[0]).scale_of(c)) *
                             static_cast<double>(grid(op.inputs[1]).scale_of(c)) /
                             static_cast<double>(out.scale_of(c));
        return nearest(times(static_cast<float>(product), static_cast<float>(scale)), out, c);
      }
      case OpKind::blend: {
        const int64_t z = at(op.inputs[0], y, x, c), h = at(op.inputs[1], y, x, c);
        const int64_t candidate = (at(op.inputs[2], y, x, c) - 128) * 256;
        const float change =
            times(static_cast<float>((candidate - h) * z), grid(op.inputs[0]).scale_of(c));
        return clamp(static_cast<double>(h) + std::rint(change), -32768, 32767);
      }
      case OpKind::requantize: {
        const int from = op.channels.empty() ? c : op.channels[static_cast<size_t>(c)];
        const double scale = static_cast<double>(grid(op.inputs[0]).scale_of(from)) /
                             static_cast<double>(out.scale_of(c));
        const auto difference =
            static_cast<float>(at(op.inputs[0], y, x, from) - zero(op.inputs[0], from));
        return nearest(times(difference, static_cast<float>(scale)), out, c);
      }
      default:
        return -1;
    }
  }

 private:
  const Grid& grid(TensorId id) const { return *graph_.tensor(id).grid; }
  int64_t zero(TensorId id, int c) const { return grid(id).zero_point_of(c); }
  bool exists(TensorId id, int y, int x) const {
    const Size size = interpreter_.tensor(id).size;
    return y >= 0 && x >= 0 && y < size.height && x < size.width;
  }
  int64_t at(TensorId id, int y, int x, int c) const { return interpreter_.tensor(id).at(y, x, c); }

  int64_t nearest(float value, const Grid& out, int c) const {
    return clamp(std::rint(static_cast<double>(value)) + out.zero_point_of(c), out.lowest(),
                 out.highest());
  }

  // From the coordinates: output pixel centre (y + 1/2) / 2 - 1/2 in the input.
  int64_t upsample(const Op& op, int y, int x, int c) const {
    const Size size = interpreter_.tensor(op.inputs[0]).size;
    const double in_y = (y + 0.5) / 2 - 0.5, in_x = (x + 0.5) / 2 - 0.5;
    const int top = static_cast<int>(std::floor(in_y)), left = static_cast<int>(std::floor(in_x));
    double sum = 0;
    for (int corner = 0; corner < 4; ++corner) {
      const int row = top + corner / 2, column = left + corner % 2;
      const double weight = (1 - std::fabs(in_y - row)) * (1 - std::fabs(in_x - column));
      sum += weight * static_cast<double>(at(op.inputs[0], std::clamp(row, 0, size.height - 1),
                                             std::clamp(column, 0, size.width - 1), c));
    }
    return static_cast<int64_t>(std::floor(sum + 0.5));  // exact in double: multiples of 1/16
  }

  int64_t accumulator(const Op& op, int y, int x, int o) const {
    const Convolution& conv = op.conv;
    int64_t acc = conv.quantized_bias[static_cast<size_t>(o)];
    const auto area = static_cast<size_t>(conv.kernel) * conv.kernel;
    int first = 0, inputs = 0;
    for (int s = 0; s < op.segment_count(); ++s)
      inputs += graph_.tensor(op.inputs[static_cast<size_t>(s)]).channels;
    for (int s = 0; s < op.segment_count(); ++s) {
      const TensorId id = op.inputs[static_cast<size_t>(s)];
      int64_t raw = 0, folded = 0;
      for (int i = 0; i < graph_.tensor(id).channels; ++i) {
        if (conv.depthwise && i != o) continue;
        for (int ky = 0; ky < conv.kernel; ++ky)
          for (int kx = 0; kx < conv.kernel; ++kx) {
            const int in_y = y * conv.stride - conv.padding + ky * conv.dilation;
            const int in_x = x * conv.stride - conv.padding + kx * conv.dilation;
            const auto input = static_cast<size_t>(conv.depthwise ? o : o * inputs + first + i);
            const auto tap = static_cast<size_t>(ky) * conv.kernel + kx;
            const auto w = int64_t{conv.quantized_weight[input * area + tap]};
            raw += w * (exists(id, in_y, in_x) ? at(id, in_y, in_x, i) : halo(op, id, i, first));
            folded += w * zero(id, i);
          }
      }
      acc += (raw - folded) * (int64_t{1} << conv.segment_shift[static_cast<size_t>(s)]);
      first += graph_.tensor(id).channels;
    }
    EXPECT_LE(std::abs(acc), int64_t{2147483647});
    return acc;
  }

  int64_t halo(const Op& op, TensorId id, int i, int first) const {
    const double real =
        op.conv.pad_value.empty() ? 0 : op.conv.pad_value[static_cast<size_t>(first) + i];
    return clamp(std::rint(real / static_cast<double>(grid(id).scale_of(i))) +
                     static_cast<double>(zero(id, i)),
                 grid(id).lowest(), grid(id).highest());
  }

  int64_t convolution(const Op& op, int y, int x, int c) const {
    const Grid& out = grid(op.output);
    const double to_real = op.conv.accumulator_scale[static_cast<size_t>(c)];
    const double step = out.scale_of(c);
    const auto a = static_cast<float>(accumulator(op, y, x, c));
    const float v = times(a, static_cast<float>(to_real));
    float t = 0;
    double low = out.lowest(), high = out.highest();
    switch (op.activation) {
      case Activation::hardswish:
        t = times(times(v, gate(v)), static_cast<float>(1 / (6 * step)));
        break;
      case Activation::hardsigmoid:
        t = times(gate(v), static_cast<float>(1 / (6 * step)));
        break;
      case Activation::sigmoid:
        t = times(plus(times(soft(times(v, 0.5F)), 0.5F), 0.5F), static_cast<float>(1 / step));
        break;
      case Activation::tanh:
        t = times(soft(v), static_cast<float>(1 / step));
        break;
      default:
        t = times(a, static_cast<float>(to_real / step));
        if (op.conv.has_residual) {
          const TensorId id = op.residual();
          const double residual = static_cast<double>(grid(id).scale_of(c)) / step;
          t = plus(t, times(static_cast<float>(at(id, y, x, c) - zero(id, c)),
                            static_cast<float>(residual)));
        }
        if (op.activation != Activation::none) low = out.zero_point_of(c);
        if (op.activation == Activation::clamp01)
          high = std::min(high, std::rint(1 / step) + out.zero_point_of(c));
    }
    const double q = op.rounding == Rounding::down
                         ? std::trunc(std::fmax(t, 0))
                         : std::rint(static_cast<double>(t)) + out.zero_point_of(c);
    return clamp(q, static_cast<int64_t>(low), static_cast<int64_t>(high));
  }

  const Graph& graph_;
  const Interpreter& interpreter_;
};

std::vector<uint8_t> random_frame(Size size, std::mt19937& random) {
  std::vector<uint8_t> frame(static_cast<size_t>(size.height) * size.width * 3);
  for (uint8_t& value : frame) value = static_cast<uint8_t>(random());
  return frame;
}

// Every value of every operation; counts values in the interior of the grid.
void expect_definition(const Graph& graph, const Interpreter& interpreter, size_t& interior) {
  const Definition definition(graph, interpreter);
  for (const Op& op : graph.ops) {
    const IntegerTensor& tensor = interpreter.tensor(op.output);
    const Grid& grid = *graph.tensor(op.output).grid;
    for (int y = 0; y < tensor.size.height; ++y)
      for (int x = 0; x < tensor.size.width; ++x)
        for (int c = 0; c < tensor.channels; ++c) {
          ASSERT_EQ(tensor.at(y, x, c), definition.value(op, y, x, c))
              << op.name << " at row " << y << ", column " << x << ", channel " << c;
          interior += tensor.at(y, x, c) > grid.lowest() && tensor.at(y, x, c) < grid.highest();
        }
  }
}

TEST(Interpreter, EqualsTheDefinitionOnRandomGraphs) {
  size_t interior = 0, all = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Graph graph = test::random_graph(seed);
    std::mt19937 random(seed);
    const Size size{1 + static_cast<int>(random() % 24), 1 + static_cast<int>(random() % 24)};
    Interpreter interpreter(graph, size);
    for (int t = 0; t < 3; ++t) {
      interpreter.step(random_frame(size, random).data());
      ASSERT_NO_FATAL_FAILURE(expect_definition(graph, interpreter, interior));
    }
    for (const Op& op : graph.ops) all += interpreter.tensor(op.output).values.size() * 3;
  }
  // The graphs must not saturate, or the comparison would prove little.
  EXPECT_GT(interior, all / 3);
}

// All integers of one step, one tensor after the other.
std::vector<int32_t> everything(const Graph& graph, const Interpreter& interpreter) {
  std::vector<int32_t> all;
  for (const Op& op : graph.ops) {
    const std::vector<int32_t>& values = interpreter.tensor(op.output).values;
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

TEST(Interpreter, StatesStartAtZeroFollowTheOutputAndReset) {
  const Graph graph = test::random_graph(5);
  const Size size{13, 18};
  std::mt19937 random(1);
  Interpreter interpreter(graph, size);
  const State& state = graph.states[0];
  std::vector<std::vector<uint8_t>> frames;
  std::vector<std::vector<int32_t>> first_run;
  frames.reserve(4);
  for (int t = 0; t < 4; ++t) frames.push_back(random_frame(size, random));
  std::vector<int32_t> expected(interpreter.tensor(state.input).values.size(), 0);
  for (const auto& frame : frames) {
    interpreter.step(frame.data());
    EXPECT_EQ(interpreter.tensor(state.input).values, expected);
    expected = interpreter.tensor(state.output).values;
    first_run.push_back(everything(graph, interpreter));
  }
  EXPECT_NE(expected, std::vector<int32_t>(expected.size(), 0));
  interpreter.step(frames[0].data());
  EXPECT_NE(everything(graph, interpreter), first_run[0]) << "the state has no effect";
  interpreter.reset();
  for (size_t t = 0; t < frames.size(); ++t) {
    interpreter.step(frames[t].data());
    EXPECT_EQ(everything(graph, interpreter), first_run[t]);
  }
}

// A state on an unsigned grid starts at the integer of real 0, which is its zero point.
TEST(Interpreter, UnsignedStatesStartAtTheirZeroPoint) {
  test::GraphMaker make(1);
  const TensorId state = make.state(3);
  make.graph.tensor(state).grid = Grid{8, false, {0.1F, 0.2F, 0.3F}, {7, 8, 9}};
  test::GraphMaker::ConvolutionShape shape;
  shape.output_channels = 3;
  const TensorId next = make.conv_to({make.graph.frame, state}, shape, make.grid_of(state));
  make.graph.states[0].output = next;
  make.outputs(next);
  Interpreter interpreter(make.graph, {2, 3});
  const std::vector<uint8_t> frame(18, 100);
  interpreter.step(frame.data());
  EXPECT_EQ(interpreter.tensor(state).at(1, 2, 0), 7);
  EXPECT_EQ(interpreter.tensor(state).at(1, 2, 1), 8);
  EXPECT_EQ(interpreter.tensor(state).at(0, 0, 2), 9);
}

// By hand: [0 4; 8 ...] upsampled, and odd borders of the pool.
TEST(Interpreter, UpsampleAndPoolByHand) {
  test::GraphMaker make(1);
  const TensorId half = make.op(OpKind::avg_pool2, {make.graph.frame}, test::unit_grid());
  const TensorId back = make.op(OpKind::upsample2, {half, make.graph.frame}, test::unit_grid());
  make.graph.outputs = {{"y", back, Variant::both}};
  Interpreter interpreter(make.graph, {1, 5});
  std::vector<uint8_t> frame(15);
  const int red[5] = {10, 13, 40, 42, 101};
  for (size_t x = 0; x < 5; ++x) frame[3 * x] = static_cast<uint8_t>(red[x]);
  interpreter.step(frame.data());
  EXPECT_EQ(interpreter.tensor(half).at(0, 0, 0), 12);  // 11.5, halves up
  EXPECT_EQ(interpreter.tensor(half).at(0, 1, 0), 41);
  EXPECT_EQ(interpreter.tensor(half).at(0, 2, 0), 101);
  const int expected[5] = {12, 19, 34, 56, 86};  // 12, 19.25, 33.75, 56, 86
  for (int x = 0; x < 5; ++x) EXPECT_EQ(interpreter.tensor(back).at(0, x, 0), expected[x]) << x;
}

std::string error_of(const Graph& graph, Size size) {
  try {
    const Interpreter interpreter(graph, size);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Interpreter, RefusesWhatItCannotRun) {
  Graph graph = test::random_graph(1);
  EXPECT_NE(error_of(graph, {0, 5}).find("frame size"), std::string::npos);
  EXPECT_NE(error_of(graph, {30000, 30000}).find("smaller frame"), std::string::npos);
  graph.outputs[0].variant = Variant::direct;
  EXPECT_NE(error_of(graph, {8, 8}).find("variant"), std::string::npos);
  graph = test::random_graph(1);
  graph.ops[0].conv.quantized_weight.pop_back();
  EXPECT_NE(error_of(graph, {8, 8}).find("integer weights"), std::string::npos);
  Interpreter interpreter(test::random_graph(1), {8, 8});
  EXPECT_THROW(interpreter.output("alpha"), Error);

  test::GraphMaker make(1);
  make.graph.outputs = {{"y",
                         make.op(OpKind::global_avg_pool, {make.graph.frame}, test::unit_grid()),
                         Variant::both}};
  EXPECT_EQ(error_of(make.graph, {2901, 2901}), "");  // 255 * 2901^2 < 2^31
  EXPECT_NE(error_of(make.graph, {2902, 2902}).find("can leave 32 bits"), std::string::npos);
}

}  // namespace
}  // namespace mattec::ir
