/* The interface of every library that mattec compiles. C11, no dependency but two standard headers.
 *
 *   #include "rvm.h"  // generated: sizes, and `extern const mattec_model rvm_model`
 *   mattec_session* session;
 *   mattec_init(&rvm_model, arena, RVM_ARENA_BYTES(1), NULL, &session);
 *   mattec_step(session, &frame, NULL, &outputs);  // once per frame
 *
 * There is no global state, no allocation but the thread pool's (only where `threads` asks for
 * one), and no symbol without the library's prefix: these functions are inline and call through
 * the model, so libraries of several networks, sizes and versions link into one program. */
#ifndef MATTEC_H
#define MATTEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MATTEC_ABI_VERSION 3

typedef enum mattec_status {
  MATTEC_OK = 0,
  MATTEC_ERROR_NULL_ARGUMENT = 1,
  MATTEC_ERROR_ABI_VERSION = 2,     /* header and library are from different mattec versions */
  MATTEC_ERROR_ARENA_TOO_SMALL = 3, /* needs <NAME>_ARENA_BYTES(threads) */
  MATTEC_ERROR_ARENA_ALIGNMENT = 4, /* needs <NAME>_ARENA_ALIGNMENT */
  MATTEC_ERROR_UNSUPPORTED_CPU = 5, /* the processor lacks an instruction set of the target */
  MATTEC_ERROR_IMAGE_SIZE = 6,      /* width, height or stride is not the compiled size's */
  MATTEC_ERROR_IMAGE_FORMAT = 7,
  MATTEC_ERROR_THREADS = 8, /* `threads` is negative or too large, the thread pool could not be
                               started, or this build has none */
  MATTEC_ERROR_FLOW = 9,    /* the library was compiled without the warp stage */
  MATTEC_ERROR_KERNEL = 10  /* a kernel failed; the session's states are lost: mattec_reset */
} mattec_status;

typedef enum mattec_format {
  MATTEC_RGB = 0, /* 3 bytes a pixel, in the order of the name */
  MATTEC_BGR = 1,
  MATTEC_RGBA = 2, /* 4 bytes a pixel */
  MATTEC_BGRA = 3,
  MATTEC_GRAY = 4 /* 1 byte: the alpha output */
} mattec_format;

/* 8-bit pixels, the top row first. `stride` is the distance of two rows in bytes, at least a row's
 * size; negative where the top row is the last one in memory. */
typedef struct mattec_image {
  uint8_t* pixels;
  int32_t width, height;
  ptrdiff_t stride;
  mattec_format format;
} mattec_image;

/* What a step writes; leave `pixels` of an image NULL to do without it (what it alone needs is then
 * not computed). May lie where the frame lies: that has been read by then. */
typedef struct mattec_outputs {
  mattec_image alpha;      /* MATTEC_GRAY: 0 background .. 255 foreground */
  mattec_image foreground; /* RGB, BGR, RGBA or BGRA (A = alpha): the subject's own colour, where
                              the network has one (<NAME>_FOREGROUND_FORMATS is not 0) */
} mattec_outputs;

typedef struct mattec_flow mattec_flow; /* motion for the warp stage; pass NULL */
typedef struct mattec_session mattec_session;

/* Runs task(context, 0) .. task(context, count - 1), in any order, on any threads; returns when all
 * are done. */
typedef void (*mattec_task)(void* context, int32_t index);
typedef void (*mattec_parallel_for)(void* user, int32_t count, mattec_task task, void* context);

/* `threads`: 0 or 1: the calling thread alone; 2 to 64: it and a built-in pool, whose threads get
 * <NAME>_STACK_BYTES of stack beyond the system's default. More are MATTEC_ERROR_THREADS, but for a
 * `parallel_for`, whose width they are: where it runs more tasks at once, some wait for others. */
typedef struct mattec_options {
  int32_t threads;
  mattec_parallel_for parallel_for; /* if set, used instead of the pool */
  void* user;                       /* handed to parallel_for */
} mattec_options;

typedef struct mattec_model mattec_model;

typedef struct mattec_functions {
  mattec_status (*init)(const mattec_model*, uint32_t abi_version, void* arena, size_t bytes,
                        const mattec_options*, mattec_session**);
  mattec_status (*step)(mattec_session*, const mattec_image*, const mattec_flow*,
                        const mattec_outputs*);
  void (*reset)(mattec_session*);
  void (*close)(mattec_session*);
  const char* (*message)(mattec_status);
} mattec_functions;

/* The first member of every model and of every session. */
struct mattec_model {
  const mattec_functions* functions;
};
struct mattec_session {
  const mattec_functions* functions;
};

/* `arena`: caller's memory, <NAME>_ARENA_BYTES(threads) at <NAME>_ARENA_ALIGNMENT, kept until
 * close; holds the session. `options` may be NULL. */
static inline mattec_status mattec_init(const mattec_model* model, void* arena, size_t bytes,
                                        const mattec_options* options, mattec_session** session) {
  if (!model || !session) return MATTEC_ERROR_NULL_ARGUMENT;
  return model->functions->init(model, MATTEC_ABI_VERSION, arena, bytes, options, session);
}
/* One frame of a clip. Reads `frame`, writes the outputs that have pixels, updates the recurrent
 * states; changes nothing if it returns an error, but for MATTEC_ERROR_KERNEL. One thread at a time
 * per session. */
static inline mattec_status mattec_step(mattec_session* session, const mattec_image* frame,
                                        const mattec_flow* flow, const mattec_outputs* outputs) {
  if (!session) return MATTEC_ERROR_NULL_ARGUMENT;
  return session->functions->step(session, frame, flow, outputs);
}
/* New clip or scene cut: the next step behaves as the first one. */
static inline void mattec_reset(mattec_session* session) {
  if (session) session->functions->reset(session);
}
/* Ends the pool's threads. Needed only where `threads` > 1 without `parallel_for`; harmless
 * elsewhere. */
static inline void mattec_close(mattec_session* session) {
  if (session) session->functions->close(session);
}
/* One English sentence, never NULL. */
static inline const char* mattec_message(const mattec_model* model, mattec_status status) {
  return model->functions->message(status);
}

#ifdef __cplusplus
}
#endif
#endif
