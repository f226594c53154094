// Models that are not compiled as engines: slow, and needed to check everything else.
#pragma once

#include <memory>
#include <string>

#include "tools/engine.h"

namespace mattec::tools {

// A .mattec file: the integer interpreter.
std::unique_ptr<Model> open_quantized_model(const std::string& path, const ModelOptions& options);
// A network file of another kind: LibTorch in float.
std::unique_ptr<Model> open_float_model(const std::string& path, const ModelOptions& options);

}  // namespace mattec::tools
