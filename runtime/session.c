/* The functions behind mattec.h. */
#include "runtime/session.h"

#include "runtime/cpu_features.h"

/* Runs task(context, 0 .. count - 1) where the caller's options say. */
static void run_region(struct session* session, int32_t count, mattec_task task, void* context) {
  if (count > 1 && session->parallel_for) {
    session->parallel_for(session->user, count, task, context);
    return;
  }
#if MATTEC_HOSTED
  if (count > 1 && session->pool.workers > 0) {
    pool_run(&session->pool, count, task, context);
    return;
  }
#endif
  for (int32_t i = 0; i < count; ++i) task(context, i);
}

/* A slot of scratch that no other task uses. There are as many as threads, so that one is free,
 * unless a caller's parallel_for is wider than it said: then its tasks wait for each other. */
static int claim_slot(struct session* session) {
  uint64_t available = __atomic_load_n(&session->free_slots, __ATOMIC_RELAXED);
  for (;;) {
    if (!available) {
      relax();
      available = __atomic_load_n(&session->free_slots, __ATOMIC_RELAXED);
    } else if (__atomic_compare_exchange_n(&session->free_slots, &available,
                                           available & (available - 1), 1, __ATOMIC_ACQUIRE,
                                           __ATOMIC_RELAXED)) {
      return __builtin_ctzll(available);
    }
  }
}

static void release_slot(struct session* session, int slot) {
  __atomic_fetch_or(&session->free_slots, (uint64_t)1 << slot, __ATOMIC_RELEASE);
}

struct step_context {
  struct session* session;
  const mattec_step_record* step;
  int32_t failed; /* set by any task */
};

/* A mattec_task: `rows_per_task` rows of a step's output (the last task may have fewer) and their
 * part of the halos. */
static void run_rows(void* context, int32_t index) {
  struct step_context* shared = context;
  struct session* session = shared->session;
  const mattec_step_record* step = shared->step;
  int slot = -1;
  const int64_t first = index * step->rows_per_task;
  const int64_t left = step->rows - first;
  int32_t first_row = (int32_t)first;
  int32_t row_count = (int32_t)(left < step->rows_per_task ? left : step->rows_per_task);

  mattec_kernel_buffer buffers[MATTEC_MAX_OPERANDS];
  void* arguments[2 + MATTEC_MAX_OPERANDS] = {&first_row, &row_count};
  for (int64_t i = 0; i < step->operand_count; ++i) {
    const mattec_operand* operand = &step->operands[i];
    /* Kernels do not write to constants; Halide's buffers have no const. */
    uint8_t* base =
        operand->base == MATTEC_IN_ARENA ? session->tensors : (uint8_t*)session->plan->constants;
    if (operand->base == MATTEC_IN_SCRATCH) {
      if (slot < 0) slot = claim_slot(session);
      base = session->scratch + slot * session->plan->scratch_bytes;
    }
    buffers[i] =
        (mattec_kernel_buffer){.host = base + operand->offset + first * operand->row_advance};
    arguments[2 + i] = &buffers[i];
  }
  const float_environment saved = enter_ieee();
  if (step->kernel(arguments)) __atomic_store_n(&shared->failed, 1, __ATOMIC_RELAXED);
  leave_ieee(saved);
  if (slot >= 0) release_slot(session, slot);
  for (int64_t i = 0; i < step->halo_count; ++i)
    fill_halo(session, &step->halos[i], first, row_count);
}

static mattec_status run_step(struct session* session, const mattec_step_record* step) {
  struct step_context context = {session, step, 0};
  run_region(session, (int32_t)((step->rows + step->rows_per_task - 1) / step->rows_per_task),
             run_rows, &context);
  return context.failed ? MATTEC_ERROR_KERNEL : MATTEC_OK;
}

/* MATTEC_FOR_... of what the caller wants; a foreground of four bytes a pixel holds alpha. */
static int64_t wanted_of(const mattec_outputs* outputs) {
  const mattec_image* foreground = &outputs->foreground;
  const int shows_alpha = foreground->pixels && bytes_of(foreground->format) == 4;
  return MATTEC_FOR_STATES | (outputs->alpha.pixels || shows_alpha ? MATTEC_FOR_ALPHA : 0) |
         (foreground->pixels ? MATTEC_FOR_FOREGROUND : 0);
}

static mattec_status init(const mattec_model* model, uint32_t abi_version, void* arena,
                          size_t bytes, const mattec_options* options, mattec_session** result) {
  if (!model || !result) return MATTEC_ERROR_NULL_ARGUMENT;
  *result = NULL;
  const mattec_plan* plan = (const mattec_plan*)model;
  if (abi_version != MATTEC_ABI_VERSION || plan->abi_version != MATTEC_ABI_VERSION)
    return MATTEC_ERROR_ABI_VERSION;
  if (!arena) return MATTEC_ERROR_NULL_ARGUMENT;
  if ((uintptr_t)arena % (uintptr_t)plan->arena_alignment ||
      (uintptr_t)arena % _Alignof(struct session))
    return MATTEC_ERROR_ARENA_ALIGNMENT;
  const int32_t threads = options ? options->threads : 0;
  const mattec_parallel_for parallel_for = options ? options->parallel_for : NULL;
  const int64_t slots = threads < 1 ? 1 : threads > MATTEC_MAX_SLOTS ? MATTEC_MAX_SLOTS : threads;
  if (threads < 0 || (threads > MATTEC_MAX_THREADS && !parallel_for)) return MATTEC_ERROR_THREADS;
  if (bytes < (size_t)(plan->arena_bytes + (slots - 1) * plan->scratch_bytes))
    return MATTEC_ERROR_ARENA_TOO_SMALL;
  if (plan->cpu_features & ~mattec_cpu_features()) return MATTEC_ERROR_UNSUPPORTED_CPU;

  struct session* session = arena;
  session->base.functions = model->functions;
  session->plan = plan;
  session->tensors = (uint8_t*)arena + plan->tensors_offset;
  session->scratch = (uint8_t*)arena + plan->arena_bytes - plan->scratch_bytes;
  session->free_slots = slots == 64 ? ~(uint64_t)0 : ((uint64_t)1 << slots) - 1;
  session->parallel_for = parallel_for;
  session->user = options ? options->user : NULL;
#if MATTEC_HOSTED
  const mattec_status status =
      pool_start(&session->pool, parallel_for ? 1 : threads, plan->stack_bytes);
  if (status != MATTEC_OK) return status;
#endif
  fill_states(session);
  *result = &session->base;
  return MATTEC_OK;
}

static mattec_status step(mattec_session* base, const mattec_image* frame, const mattec_flow* flow,
                          const mattec_outputs* outputs) {
  if (!base || !frame || !frame->pixels || !outputs) return MATTEC_ERROR_NULL_ARGUMENT;
  if (flow) return MATTEC_ERROR_FLOW;
  struct session* session = (struct session*)base;
  const mattec_plan* plan = session->plan;
  mattec_status status = check_images(plan, frame, outputs);
  if (status != MATTEC_OK) return status;

  const int64_t wanted = wanted_of(outputs);
  struct read_context read = {session, frame};
  run_region(session, strip_count(plan), read_strip, &read);
  for (int64_t i = 0; i < plan->step_count; ++i) {
    if (plan->steps[i].wanted & wanted) status = run_step(session, &plan->steps[i]);
    if (status != MATTEC_OK) return status;
  }
  struct write_context write = {session, outputs};
  if (outputs->alpha.pixels || outputs->foreground.pixels)
    run_region(session, strip_count(plan), write_strip, &write);
  return MATTEC_OK;
}

static void reset(mattec_session* base) {
  if (base) fill_states((struct session*)base);
}

static void close_session(mattec_session* base) {
#if MATTEC_HOSTED
  if (base) pool_stop(&((struct session*)base)->pool);
#else
  (void)base;
#endif
}

static const char* message(mattec_status status) {
  switch (status) {
    case MATTEC_OK:
      return "Success.";
    case MATTEC_ERROR_NULL_ARGUMENT:
      return "A required pointer is NULL: model, arena, session, frame and its pixels, outputs.";
    case MATTEC_ERROR_ABI_VERSION:
      return "mattec.h and the library are of different versions; use the header that was written "
             "beside the library.";
    case MATTEC_ERROR_ARENA_TOO_SMALL:
      return "The arena is smaller than the generated header's ..._ARENA_BYTES for so many "
             "threads.";
    case MATTEC_ERROR_ARENA_ALIGNMENT:
      return "The arena's address is not a multiple of the generated header's "
             "..._ARENA_ALIGNMENT.";
    case MATTEC_ERROR_UNSUPPORTED_CPU:
      return "This processor lacks an instruction set that the library's target needs; link the "
             "library of another target.";
    case MATTEC_ERROR_IMAGE_SIZE:
      return "An image's width, height or stride does not fit the size that the library was "
             "compiled for.";
    case MATTEC_ERROR_IMAGE_FORMAT:
      return "An image's format is wrong: frame and foreground are RGB, BGR, RGBA or BGRA, alpha "
             "is GRAY; or the network has no foreground.";
    case MATTEC_ERROR_THREADS:
      return "The number of threads is negative or above 64, the thread pool could not be started, "
             "or this build has none; use fewer threads or pass a parallel_for.";
    case MATTEC_ERROR_FLOW:
      return "The library was compiled without the warp stage; pass NULL as flow.";
    case MATTEC_ERROR_KERNEL:
      return "A kernel failed, and the recurrent states are lost; call mattec_reset.";
  }
  return "Unknown status.";
}
