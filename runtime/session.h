/* What the parts of the runtime share: the session at the arena's start. Internal. */
#ifndef MATTEC_RUNTIME_SESSION_H
#define MATTEC_RUNTIME_SESSION_H

#include "runtime/model.h"

/* 1: an operating system with POSIX threads. 0: firmware; nothing outside this object is called. */
#ifndef MATTEC_HOSTED
#error "compile the runtime with -DMATTEC_HOSTED=0 or 1"
#endif

#if MATTEC_HOSTED
#include <pthread.h>
#include <stdatomic.h>

/* The calling thread and its workers. Steps have some dozens of tasks: more threads only wait. */
enum { MATTEC_MAX_THREADS = 64, MATTEC_CACHE_LINE = 64 };

/* One parallel region at a time. Every counter that threads hammer has a cache line of its own. */
struct pool {  // NOLINT(clang-analyzer-optin.performance.Padding)
  _Alignas(MATTEC_CACHE_LINE) atomic_int unclaimed;  /* tasks nobody has taken yet */
  _Alignas(MATTEC_CACHE_LINE) atomic_int unfinished; /* tasks not yet done, taken or not */
  _Alignas(MATTEC_CACHE_LINE) atomic_int sleepers;   /* workers asleep; changed under mutex */
  atomic_int caller_sleeps;                          /* changed under mutex */
  int stop;                                          /* under mutex */
  int32_t count;                                     /* of the region: tasks */
  mattec_task task;
  void* context;
  pthread_mutex_t mutex;
  pthread_cond_t work, done;
  int32_t workers; /* 0: no pool, and mutex and conditions do not exist */
  pthread_t threads[MATTEC_MAX_THREADS - 1];
};
#endif

#if !MATTEC_HOSTED
enum { MATTEC_MAX_THREADS = 1 };
#endif

/* Tasks that run at the same time and want scratch: one bit each. */
enum { MATTEC_MAX_SLOTS = 64 };

struct session {
  mattec_session base; /* first: a mattec_session* is a struct session* */
  const mattec_plan* plan;
  uint8_t* tensors;    /* arena + tensors_offset */
  uint8_t* scratch;    /* slots of the plan's scratch_bytes */
  uint64_t free_slots; /* bits: those that no task uses */
  mattec_parallel_for parallel_for;
  void* user;
#if MATTEC_HOSTED
  struct pool pool;
#endif
};

_Static_assert(sizeof(struct session) <= MATTEC_SESSION_BYTES, "raise MATTEC_SESSION_BYTES");

#endif
