// Reader of TorchScript files.
#pragma once

#include "frontend/zip.h"
#include "ir/graph.h"

namespace mattec::frontend {

// The imported graph (canonical, constants folded, verified) of a scripted or traced matting
// network: forward(frame [N,3,H,W], optional states..., downsample_ratio = 1, further arguments
// with defaults) -> foreground (3 channels, optional), alpha (1 channel), states. The forward is
// executed node by node on a small frame and its tensor operations are recorded.
// Without `fold`, constants stay as the script has them (batch_norm, several scale_shift in a row):
// executing the graph then repeats LibTorch's arithmetic, operation by operation.
// Throws Error naming the file and what is unsupported or not that of a matting network.
ir::Graph read_torchscript(const ZipArchive& archive, bool fold = true);

}  // namespace mattec::frontend
