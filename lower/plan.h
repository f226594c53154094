// The plan of a compiled library: what is stored where, and which kernels run in what order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/sizes.h"
#include "lower/isa.h"
#include "lower/kernel.h"

namespace mattec::lower {

// A tensor in the arena: rows of pixels with `halo` pixels around them.
struct Storage {
  std::string name;
  ir::Size size;
  int channels = 0;
  int pixel_stride = 0;  // elements: channels rounded up
  int element_bytes = 1;
  int halo = 0;
  std::vector<uint8_t> pattern;       // one pixel of halo, pixel_stride * element_bytes
  int first_step = 0, last_step = 0;  // lifetime; states live through all steps
  int64_t offset = 0;                 // of the allocation, from the start of the tensors

  int64_t pixel_bytes() const { return int64_t(pixel_stride) * element_bytes; }
  int64_t row_bytes() const { return (size.width + 2 * halo) * pixel_bytes(); }
  int64_t bytes() const { return (size.height + 2 * halo) * row_bytes(); }
  // From the allocation's start to pixel (row, column) of the interior.
  int64_t position(int row, int column) const {
    return (row + halo) * row_bytes() + (column + halo) * pixel_bytes();
  }
};

// What a kernel's argument lies in: a storage, the constants, or memory that is a thread's own for
// as long as the kernel runs.
enum class Buffer { arena, constants, scratch };

// Where a kernel's argument starts.
struct Operand {
  Buffer buffer = Buffer::arena;
  int storage = -1;         // Buffer::arena
  int64_t offset = 0;       // bytes from the storage's (or the buffer's) start
  int64_t row_advance = 0;  // bytes per output row
};

// Results of a frame, as bits: recurrent states and outputs.
enum Wanted { wanted_by_states = 1, wanted_by_alpha = 2, wanted_by_foreground = 4 };

struct Step {
  std::string name;  // the graph operation's
  Kernel kernel;
  std::vector<Operand> operands;
  int rows = 0;
  int rows_per_task = 0;
  std::vector<int> written;  // storages whose halo is filled after the interior
  int wanted = 0;            // bits of Wanted: which results of a frame need this step
};

// Where a tensor of the graph lies.
struct StoredTensor {
  std::string name;
  int storage = -1;
  int offset = 0;             // what its integers are stored less
  std::vector<int> channels;  // of the storage, of each of the tensor's
};

// Channels of a storage, side by side; no storage: the network has no such output.
struct PlanOutput {
  int storage = -1;
  int first_channel = 0;
};

struct Plan {
  std::string name;
  ir::Size size;
  std::vector<Storage> storages;
  std::vector<int> frames;  // storages that hold the frame, one per halo pattern
  std::vector<int> states;  // storages that live from frame to frame
  PlanOutput alpha, foreground;
  std::vector<Step> steps;
  std::vector<uint8_t> constants;
  bool is_signed = false;     // bytes of tensors are signed: stored_offset
  int64_t tensor_bytes = 0;   // of all storages
  int64_t scratch_bytes = 0;  // that the greediest kernel takes; known when kernels are compiled
  int64_t weight_bytes = 0;   // of `constants`: weights alone
  double macs = 0;
  // With Options::keep_all: every tensor of the graph that is stored when a frame ends.
  std::vector<StoredTensor> stored;
};

struct Options {
  Isa isa;
  // A task should take some 5 to 10 microseconds, well above the 0.3 that handing it out costs; in
  // multiplications of a dense convolution.
  double work_per_task = 3e6;
  // No two storages share memory, and the plan says what is where: for tests, which look at every
  // tensor after a frame.
  bool keep_all = false;
};

// `graph` is quantized and of one variant. Throws Error for what no kernel does.
Plan lower(const ir::Graph& graph, ir::Size frame, const Options& options);

}  // namespace mattec::lower
