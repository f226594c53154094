/* FEAT_I8MM: smmla multiplies 2 pixels by 2 output channels, 8 input channels each, signed bytes.
 * Weights as lower::pack_dense makes them with a depth of 8. */
#include <arm_neon.h>

#include "microkernels/accumulate.h"

enum { DEPTH = 8 };

#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)

/* At most 24 sums, which leave 8 registers for inputs and weights. */
#define QUADS 1
#define PAIRS 4
#include "microkernels/smmla_tile.h"
#define QUADS 2
#define PAIRS 4
#include "microkernels/smmla_tile.h"
#define QUADS 3
#define PAIRS 3
#include "microkernels/smmla_tile.h"
#define QUADS 4
#define PAIRS 3
#include "microkernels/smmla_tile.h"
#define QUADS 5
#define PAIRS 2
#include "microkernels/smmla_tile.h"

static void accumulate(const mattec_row* row) {
  static const mattec_add_tiles add_tiles[] = {add_tiles_1, add_tiles_2, add_tiles_3, add_tiles_4,
                                               add_tiles_5};
  mattec_add_blocks(row, add_tiles, sizeof add_tiles / sizeof add_tiles[0], 4);
}

MATTEC_DEFINE_ACCUMULATE(accumulate_smmla)
