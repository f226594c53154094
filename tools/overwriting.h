// What is read must still be there afterwards.
#pragma once

#include <string>
#include <vector>

namespace mattec::tools {

// Throws Error where the file `output` is there already and is, by any path or link, one of the
// `inputs` or lies in one that is a folder (or in a folder of that). Opens nothing.
void require_not_read(const std::string& output, const std::vector<std::string>& inputs);

}  // namespace mattec::tools
