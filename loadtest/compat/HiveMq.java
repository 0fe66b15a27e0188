import com.hivemq.configuration.service.InternalConfigurations;
import com.hivemq.embedded.EmbeddedExtension;
import com.hivemq.embedded.EmbeddedHiveMQ;
import com.hivemq.extension.sdk.api.ExtensionMain;
import com.hivemq.extension.sdk.api.auth.SimpleAuthenticator;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartOutput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopOutput;
import com.hivemq.extension.sdk.api.services.Services;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** HiveMQ CE with one user, whose password is in a file: HiveMq FOLDER USER PASSWORD_FILE. */
public class HiveMq {
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]).toAbsolutePath();
        String user = arguments[1];
        ByteBuffer password = ByteBuffer.wrap(Files.readAllBytes(Path.of(arguments[2])));
        for (String name : new String[] {"data", "extensions"}) {
            Files.createDirectories(folder.resolve(name));
        }
        // The defaults deliver a session's backlog in batches of 50: the next one after the last acknowledgement.
        InternalConfigurations.PUBLISH_POLL_BATCH_SIZE = 5000;
        InternalConfigurations.MAX_INFLIGHT_WINDOW_SIZE_MESSAGES = 5000;
        SimpleAuthenticator authenticator = (input, output) -> {
            var packet = input.getConnectPacket();
            if (packet.getUserName().equals(Optional.of(user))
                    && packet.getPassword().equals(Optional.of(password.asReadOnlyBuffer()))) {
                output.authenticateSuccessfully();
            } else {
                output.failAuthentication();
            }
        };
        var extension = EmbeddedExtension.builder().withId("one-user").withName("one user").withVersion("1")
            .withExtensionMain(new ExtensionMain() {
                public void extensionStart(ExtensionStartInput input, ExtensionStartOutput output) {
                    Services.securityRegistry().setAuthenticatorProvider(provided -> authenticator);
                }

                public void extensionStop(ExtensionStopInput input, ExtensionStopOutput output) {}
            }).build();
        var broker = EmbeddedHiveMQ.builder().withConfigurationFolder(folder.resolve("conf"))
            .withDataFolder(folder.resolve("data")).withExtensionsFolder(folder.resolve("extensions"))
            .withEmbeddedExtension(extension).build();
        broker.start().join();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> broker.stop().join()));
        Thread.currentThread().join();
    }
}
