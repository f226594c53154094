/* What targets/ emits and the runtime executes: the plan of one library as constant records.
 * Every field is 8 bytes wide, so that the emitter needs no layout rules. */
#ifndef MATTEC_RUNTIME_MODEL_H
#define MATTEC_RUNTIME_MODEL_H

#include "runtime/mattec.h"

/* Halide's halide_buffer_t, of which kernels with static shapes read only `host`. */
typedef struct mattec_kernel_buffer {
  uint64_t device;
  const void* device_interface;
  uint8_t* host;
  uint64_t flags;
  uint64_t type_and_dimensions; /* halide_type_t and int32_t dimensions */
  void* dim;
  void* padding;
} mattec_kernel_buffer;

/* Halide's argv entry: arguments[0] = &first_row, [1] = &row_count (int32_t), [2..] = buffers.
 * Returns 0, or anything else where it failed: mattec_step then gives MATTEC_ERROR_KERNEL. */
typedef int (*mattec_kernel)(void** arguments);

/* Scratch: memory that is a task's own while its kernel runs. */
enum { MATTEC_IN_ARENA = 0, MATTEC_IN_CONSTANTS = 1, MATTEC_IN_SCRATCH = 2 };
enum { MATTEC_MAX_OPERANDS = 24 };

/* Where a kernel's buffer starts: base + offset + first_row * row_advance. */
typedef struct mattec_operand {
  int64_t base;        /* MATTEC_IN_... */
  int64_t offset;      /* bytes from the base to element (row 0, column 0, channel 0) */
  int64_t row_advance; /* bytes per output row of the task; 0 = the whole tensor each time */
} mattec_operand;

/* The border of a stored tensor: `halo` pixels on each side, written after the interior. */
typedef struct mattec_halo {
  int64_t offset;        /* of the interior's first pixel */
  int64_t width, height; /* interior, pixels */
  int64_t halo;          /* pixels */
  int64_t pixel_bytes, row_bytes;
  int64_t pattern; /* offset in constants of one pixel's bytes */
} mattec_halo;

/* What a step is needed for, as bits: recurrent states, which every frame updates, and outputs. */
enum { MATTEC_FOR_STATES = 1, MATTEC_FOR_ALPHA = 2, MATTEC_FOR_FOREGROUND = 4 };

typedef struct mattec_step_record {
  mattec_kernel kernel;
  const mattec_operand* operands;
  int64_t operand_count;
  int64_t rows;             /* of the output */
  int64_t rows_per_task;    /* tasks of a step are independent of each other */
  const mattec_halo* halos; /* of the tensors this step writes, rows numbered like the output's */
  int64_t halo_count;
  int64_t wanted; /* MATTEC_FOR_...: skipped where the caller asked for none of these */
} mattec_step_record;

/* Memory that mattec_reset fills: `bytes` at `offset` with repetitions of the pattern. */
typedef struct mattec_state_record {
  int64_t offset, bytes;
  int64_t pattern, pattern_bytes; /* offset in constants */
} mattec_state_record;

/* One stored copy of the frame: 4 bytes a pixel (R, G, B, 0), with its halo. */
typedef struct mattec_frame_record {
  mattec_halo halo;
} mattec_frame_record;

/* An output as the last kernels leave it. */
typedef struct mattec_output_record {
  int64_t offset; /* arena */
  int64_t row_bytes;
  int64_t pixel_bytes; /* distance of two pixels; of foreground (R, G, B) at least 4, or 0 = no
                          such output */
} mattec_output_record;

/* Bits of mattec_plan.cpu_features; the operating system must save the registers too.
 * AVX2: with FMA F16C BMI1 BMI2 LZCNT MOVBE POPCNT (x86-64-v3).
 * AVX512_ICELAKE: F BW DQ VL CD IFMA VBMI VBMI2 BITALG VPOPCNTDQ VNNI GFNI.
 * AVX_VNNI: vpdpbusd without AVX-512.
 * ARM_DOTPROD: FEAT_DotProd. ARM_I8MM: FEAT_I8MM. */
enum {
  MATTEC_CPU_AVX2 = 1,
  MATTEC_CPU_AVX512_ICELAKE = 2,
  MATTEC_CPU_AVX_VNNI = 4,
  MATTEC_CPU_ARM_DOTPROD = 256,
  MATTEC_CPU_ARM_I8MM = 512
};

typedef struct mattec_plan {
  mattec_model model; /* first: a mattec_model* is a mattec_plan* */
  int64_t abi_version;
  int64_t width, height;
  int64_t arena_bytes;     /* session and one thread's scratch included */
  int64_t arena_alignment; /* at least 64: the session wants that */
  int64_t tensors_offset;  /* arena offset of what the records' offsets count from */
  int64_t stored_xor;      /* bytes of frame and outputs are stored XOR this: 0, or 0x80 where
                              tensors are signed */
  int64_t scratch_bytes;   /* of each thread, a multiple of 64; they end the arena */
  int64_t stack_bytes;     /* that a thread needs inside mattec_step */
  int64_t cpu_features;
  const uint8_t* constants;
  const mattec_frame_record* frames;
  int64_t frame_count;
  const mattec_step_record* steps;
  int64_t step_count;
  const mattec_state_record* states;
  int64_t state_count;
  mattec_output_record alpha;
  mattec_output_record foreground;
} mattec_plan;

/* What a session takes and gives, as bits 1 << mattec_format: frame and foreground; alpha. */
enum {
  MATTEC_COLOR_FORMATS = 1 << MATTEC_RGB | 1 << MATTEC_BGR | 1 << MATTEC_RGBA | 1 << MATTEC_BGRA,
  MATTEC_ALPHA_FORMATS = 1 << MATTEC_GRAY
};

/* The one symbol of the runtime; targets/ renames it to <prefix>_functions. */
extern const mattec_functions mattec_runtime_functions;

/* The first MATTEC_SESSION_BYTES of the arena are the session's. */
enum { MATTEC_SESSION_BYTES = 1024 };

#endif
