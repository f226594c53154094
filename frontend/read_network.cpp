#include "frontend/read_network.h"

#include "base/error.h"
#include "base/read_file.h"
#include "frontend/state_dict.h"
#include "frontend/torchscript.h"
#include "frontend/weight_file.h"
#include "ir/names.h"

namespace mattec::frontend {

ir::Graph read_network(const std::string& path) {
  std::string bytes = read_file(path, most_model_bytes);
  // A safetensors file begins with its header's length and the header's brace.
  if (bytes.size() > 8 && bytes[8] == '{')
    return build_network(read_safetensors_weights(bytes, path), path);
  if (bytes.compare(0, 2, "PK") == 0) {
    const ZipArchive archive(std::move(bytes), path);
    const ArchiveKind kind = kind_of(archive);
    if (kind == ArchiveKind::torchscript) {
      archive.check_contents();
      ir::Graph graph = read_torchscript(archive);
      graph.name = ir::network_name(graph.name);  // may be the file's
      return graph;
    }
    if (kind == ArchiveKind::state_dict) return build_network(read_state_dict(archive), path);
  }
  throw Error(path +
              ": is no network file; expected TorchScript, a PyTorch state dict (zip format, since "
              "PyTorch 1.6) or safetensors");
}

}  // namespace mattec::frontend
