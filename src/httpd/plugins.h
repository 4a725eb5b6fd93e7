// Plug-ins in httpd's processes: who tries, opens and replaces them.
//
//     parent     tries each file in a process without privileges when the configuration is read,
//     and
//                never opens one itself
//     moderator  notices new files and tries them (moderator/plugin_watch.h)
//     children   take what was tried out of its box: before their first request, and in a thread
//                that sleeps until the moderator says that there is something new
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/descriptor_box.h"
#include "base/result.h"
#include "decide/plugin.h"
#include "decide/plugin_board.h"
#include "httpd/apache.h"
#include "moderator/plugin_watch.h"
#include "report/snapshot.h"

namespace backhand::httpd {

class Instance;

// One file, and all the lines that name it.
struct PluginFile {
    PluginFile(std::string its_path, DescriptorBox its_box)
        : path(std::move(its_path)),
          box(std::move(its_box)) {}

    std::string path;
    std::vector<std::shared_ptr<Plugin>> lines;
    DescriptorBox box;
    PluginFileMarks* marks = nullptr;
    std::uint32_t loaded = 0;  // by this child: the number of what was in the box
};

class Plugins {
public:
    // In the parent: tries the files that any server's configuration names, and puts them into
    // their boxes.  Error malformed names the line and what is wrong with it.
    Status try_all(apr_pool_t* pool, server_rec* main_server);

    bool empty() const { return files_.empty(); }

    // In the parent, before it forks.
    Status set_up(const Instance& instance);

    // In the moderator.  nullptr if there are no plug-ins.
    std::unique_ptr<PluginWatch> watch(const Instance& instance, Log log) const;

    // In a child, before its first request.
    void open_in_child(const server_rec* main_server);

    std::vector<PluginRow> rows() const;

private:
    void take_new(const server_rec* main_server);
    void load(PluginFile& file, const DescriptorBox::Content& content,
              const server_rec* main_server) const;
    bool sweep() const;
    void start_thread(const server_rec* main_server);

    std::vector<std::unique_ptr<PluginFile>> files_;
    std::unique_ptr<PluginBoard> board_;
};

}  // namespace backhand::httpd
