/* What `mattec compile` would write beside the hand-made library of fake_library.c. */
#ifndef RVM_H
#define RVM_H

#include "mattec.h"

#define RVM_WIDTH 16
#define RVM_HEIGHT 8
#define RVM_ARENA_BYTES 4096
#define RVM_ARENA_ALIGNMENT 64
#define RVM_STACK_BYTES 4096
#define RVM_ABI_VERSION 1

extern const mattec_model rvm_model;

#endif
