// PyTorch's state dicts and checkpoints (torch.save, zip format since PyTorch 1.6).
#pragma once

#include "frontend/networks.h"
#include "frontend/zip.h"

namespace mattec::frontend {

// Finds the dictionary that holds a known network's tensors: the pickled one itself, or one inside
// it (a checkpoint's "state_dict", "model", ...; optimizers and counters beside it are ignored).
// Where several do, the first of: the outermost, "state_dict", "model_state_dict", "model",
// "params", "ema", then others by name; a note says which. A prefix that all its names have
// ("module.") is taken off. Only its tensors are read, each storage once.
// The pickle inside is interpreted by a reader that executes nothing.
// Throws Error naming the file and the tensor; Interrupted.
FoundWeights read_state_dict(const ZipArchive& archive);

}  // namespace mattec::frontend
