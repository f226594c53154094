/* The built-in thread pool: `workers` threads and the caller share the tasks of one region at a
 * time. A frame is 40 to 120 regions of 20 to 500 microseconds, so waiting threads spin a little
 * before they sleep, the caller never waits for a worker that took no task, and nobody is woken
 * who is awake.
 *
 * Taking a task is a compare-and-swap that lowers `unclaimed` from a positive number. Whoever
 * succeeds holds a task of the current region, and the region (task, context, count) cannot change
 * before that task is finished; so a late worker can neither run a task twice nor read a region
 * that is being replaced. */
#include "runtime/session.h"

#if MATTEC_HOSTED

/* Some 0.3 milliseconds of pauses, longer than the serial stretches of a frame: at 50 microseconds
 * two threads slept and woke so often that they took as long as one. */
enum { SPINS = 20000 };

/* Index of a task that the caller of this function now has to run, or -1. */
static int32_t claim_task(struct pool* pool) {
  int left = atomic_load_explicit(&pool->unclaimed, memory_order_relaxed);
  while (left > 0) {
    if (atomic_compare_exchange_weak(&pool->unclaimed, &left, left - 1)) return pool->count - left;
  }
  return -1;
}

/* Runs tasks until none is left to take. */
static void run_tasks(struct pool* pool) {
  for (int32_t index = claim_task(pool); index >= 0; index = claim_task(pool)) {
    pool->task(pool->context, index);
    if (atomic_fetch_sub(&pool->unfinished, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
      pthread_mutex_lock(&pool->mutex);
      pthread_cond_signal(&pool->done);
      pthread_mutex_unlock(&pool->mutex);
    }
  }
}

/* Returns 1 when there may be tasks, 0 when the pool ends. */
static int await_tasks(struct pool* pool) {
  for (int spin = 0; spin < SPINS; ++spin) {
    if (atomic_load_explicit(&pool->unclaimed, memory_order_relaxed) > 0) return 1;
    relax();
  }
  pthread_mutex_lock(&pool->mutex);
  /* Sequentially consistent, like run_region's store and load: either this thread sees the new
   * region, or the caller sees the sleeper. */
  atomic_fetch_add(&pool->sleepers, 1);
  while (atomic_load(&pool->unclaimed) <= 0 && !pool->stop)
    pthread_cond_wait(&pool->work, &pool->mutex);
  atomic_fetch_sub(&pool->sleepers, 1);
  const int go_on = !pool->stop;
  pthread_mutex_unlock(&pool->mutex);
  return go_on;
}

static void* worker_main(void* argument) {
  struct pool* pool = argument;
  while (await_tasks(pool)) run_tasks(pool);
  return NULL;
}

static void wake_workers(struct pool* pool, int32_t wanted) {
  int32_t asleep = atomic_load(&pool->sleepers);
  if (asleep == 0) return;
  /* Whoever is about to sleep holds the mutex; once it is free he waits and hears the signal. */
  pthread_mutex_lock(&pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
  for (; asleep > 0 && wanted > 0; --asleep, --wanted) pthread_cond_signal(&pool->work);
}

static void await_finish(struct pool* pool) {
  for (int spin = 0; spin < SPINS; ++spin) {
    if (atomic_load(&pool->unfinished) == 0) return;
    relax();
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->caller_sleeps, 1);
  while (atomic_load(&pool->unfinished) > 0) pthread_cond_wait(&pool->done, &pool->mutex);
  atomic_store(&pool->caller_sleeps, 0);
  pthread_mutex_unlock(&pool->mutex);
}

/* A parallel_for. */
static void pool_run(struct pool* pool, int32_t count, mattec_task task, void* context) {
  pool->task = task;
  pool->context = context;
  pool->count = count;
  atomic_store(&pool->unfinished, count);
  atomic_store(&pool->unclaimed, count);
  wake_workers(pool, count - 1);
  run_tasks(pool);
  await_finish(pool);
}

/* Ends the workers that were started, and what they wait on. */
static void end_workers(struct pool* pool) {
  pthread_mutex_lock(&pool->mutex);
  pool->stop = 1;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->mutex);
  for (int32_t i = 0; i < pool->workers; ++i) pthread_join(pool->threads[i], NULL);
  pool->workers = 0;
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->mutex);
}

/* Harmless without a pool, so also the second time. */
static void pool_stop(struct pool* pool) {
  if (pool->workers > 0) end_workers(pool);
}

/* The pool's threads: what the system gives by default has room for the C library's own needs and
 * for the program's thread-local variables, which only it knows; the kernels' share comes on top.
 * The default alone was too little for 1080p on AVX2 under `ulimit -s 256`, and with musl's
 * 128 KiB. In steps of the largest pages. */
static int make_attributes(pthread_attr_t* attributes, int64_t stack_bytes) {
  const size_t page = 65536, needed = ((size_t)stack_bytes + page - 1) / page * page;
  size_t usual = 0;
  if (pthread_attr_init(attributes)) return 0;
  if (!pthread_attr_getstacksize(attributes, &usual) &&
      !pthread_attr_setstacksize(attributes, usual + needed))
    return 1;
  pthread_attr_destroy(attributes);
  return 0;
}

/* Adds workers until there are `wanted`. */
static int start_workers(struct pool* pool, int32_t wanted, int64_t stack_bytes) {
  pthread_attr_t attributes;
  if (!make_attributes(&attributes, stack_bytes)) return 0;
  while (pool->workers < wanted &&
         !pthread_create(&pool->threads[pool->workers], &attributes, worker_main, pool))
    ++pool->workers;
  pthread_attr_destroy(&attributes);
  return pool->workers == wanted;
}

/* `threads`: at most MATTEC_MAX_THREADS, the caller counted. On failure nothing is left running. */
static mattec_status pool_start(struct pool* pool, int32_t threads, int64_t stack_bytes) {
  pool->workers = 0;
  if (threads <= 1) return MATTEC_OK;
  pool->stop = 0;
  atomic_init(&pool->unclaimed, 0);
  atomic_init(&pool->unfinished, 0);
  atomic_init(&pool->sleepers, 0);
  atomic_init(&pool->caller_sleeps, 0);
  /* With default attributes these allocate nothing on Linux and do not fail there. */
  if (pthread_mutex_init(&pool->mutex, NULL) || pthread_cond_init(&pool->work, NULL) ||
      pthread_cond_init(&pool->done, NULL))
    return MATTEC_ERROR_THREADS;
  if (start_workers(pool, threads - 1, stack_bytes)) return MATTEC_OK;
  end_workers(pool);
  return MATTEC_ERROR_THREADS;
}

#endif
