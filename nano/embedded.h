// The network inside mattec: what it works on where the user names no model.
#pragma once

#include "ir/graph.h"

namespace mattec::nano {

// nano.safetensors, as it was when this was built.
extern const unsigned char weight_file[];
extern const unsigned long weight_file_size;

// The imported graph (both variants), as frontend::read_network would give it for the file.
ir::Graph nano_network();

}  // namespace mattec::nano
