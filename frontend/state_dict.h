// PyTorch state dicts (torch.save of model.state_dict(), zip format since PyTorch 1.6).
#pragma once

#include "frontend/networks.h"
#include "frontend/zip.h"

namespace mattec::frontend {

// The floating-point tensors, as float. The pickle inside is interpreted by a reader that knows
// dictionaries, tuples, numbers, names and tensors and nothing else: no code is executed.
// Throws Error naming the file and what in it is no part of a state dict.
Weights read_state_dict(const ZipArchive& archive);

}  // namespace mattec::frontend
